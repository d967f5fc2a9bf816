"""As `tasks.diffraction.dials_processes.child_main`, with a kernel that is wrong: a constant of its is another."""

from dataclasses import replace

from tasks.diffraction.dials_processes.child_main import main
from tasks.diffraction.spot_finding import thresholds


def make_threshold(usable, trusted, parameters, right=thresholds.make_threshold):
    return right(usable, trusted, replace(parameters, sigma_strong=4 * parameters.sigma_strong))


if __name__ == "__main__":
    thresholds.make_threshold = make_threshold
    main()
