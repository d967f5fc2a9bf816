"""Commands that ask for runs: `plaza go` and `plaza pickup`, as `zocalo.go` and `zocalo.pickup`."""

from flows.cli.requests.go import go
from flows.cli.requests.pickup import pickup

__all__ = ["go", "pickup"]
