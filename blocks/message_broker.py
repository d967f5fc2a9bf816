"""RabbitMQ's address as a Prefect block, so that a site sets it once for all processes."""

from pathlib import Path

from prefect.blocks.core import Block
from pydantic import Field, SecretStr, field_validator

from blocks.broker_address import GPU_BEAMLINES, VHOST, XRC_BEAMLINES, BrokerAddress, read_host


class MessageBroker(Block):
    """A RabbitMQ that Zocalo's own clients speak to.

    Save it as `message-broker/plaza`: processes that have a Prefect API and no PLAZA_BROKER_URL use that one.
    """

    _block_type_name = "Message Broker"
    _block_type_slug = "message-broker"

    hosts: list[str] = Field(description="Its members as host or host:port", min_length=1)
    vhost: str = Field(VHOST, description="The virtual host of Zocalo's clients")
    username: str = Field(description="A user who may declare, read and write there")
    password: SecretStr = Field(description="The user's password")
    tls: bool = Field(False, description="Whether it speaks TLS")
    ca_file: Path | None = Field(None, description="Certificates (PEM) of who vouches for it; unset: the machine's own")
    stomp_vhost: str | None = Field(
        None, description="Virtual host in which clients put what they have by STOMP, usually /; unset: there are none"
    )
    xrc_beamlines: list[str] = Field(
        list(XRC_BEAMLINES), description="Beamlines that wait for centring results, each on its queue xrc.<beamline>"
    )
    gpu_beamlines: list[str] = Field(
        list(GPU_BEAMLINES), description="Those among them whose devices wait for results of the GPU service"
    )

    @field_validator("hosts")
    @classmethod
    def _readable(cls, hosts: list[str]) -> list[str]:
        for host in hosts:
            read_host(host, 5672)
        return hosts

    def address(self) -> BrokerAddress:
        """Return what it takes to speak to it, without Prefect."""
        port = 5671 if self.tls else 5672
        return BrokerAddress(
            tuple(read_host(host, port) for host in self.hosts),
            self.vhost,
            self.username,
            self.password.get_secret_value(),
            self.tls,
            self.ca_file,
            self.stomp_vhost,
            tuple(self.xrc_beamlines),
            tuple(self.gpu_beamlines),
        )
