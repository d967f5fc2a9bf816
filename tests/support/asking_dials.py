"""What DIALS's own server says of an image: the judge of ours."""

from tasks.diffraction.requests import AnalysisParameters


def ask_dials(file, scan_range=None, **options):
    """Return what DIALS's own server says, called as Zocalo's users would."""
    from dials.command_line.find_spots_server import work

    options = AnalysisParameters(**options).options
    arguments = [
        f"spotfinder.threshold.algorithm={options.threshold_algorithm}",
        f"spotfinder.filter.disable_parallax_correction={options.disable_parallax_correction}",
        f"ice_rings.filter={options.filter_ice}",
        f"ice_rings.width={options.ice_rings_width}",
    ]
    arguments += [
        f"spotfinder.filter.{name}={value}" for name in ("d_min", "d_max") if (value := getattr(options, name))
    ]
    if scan_range:
        arguments.append("spotfinder.scan_range={},{}".format(*scan_range))
    return work(str(file), arguments)
