"""A list of nearly all write commands, each with all that it can be given, for a data collection of its own."""

from typing import Any

STARTED, ENDED = "2024-05-01 12:00:00", "2024-05-01 12:05:00"

SHELL = {
    "anom": True, "anom_completeness": 1.5, "anom_multiplicity": 2.5, "cc_anom": 3.5, "cc_half": 4.5, "comments": "c",
    "completeness": 5.5, "fract_partial_bias": 6.5, "mean_i_sig_i": 7.5, "multiplicity": 8.5, "n_tot_obs": 9,
    "n_tot_unique_obs": 10, "r_meas_all_iplusi_minus": 11.5, "r_meas_within_iplusi_minus": 12.5, "r_merge": 13.5,
    "r_pim_all_iplusi_minus": 14.5, "r_pim_within_iplusi_minus": 15.5, "res_i_sig_i_2": 16.5, "res_lim_high": 17.5,
    "res_lim_low": 18.5,
}  # fmt: skip
CELL = {"cell_a": 1.5, "cell_b": 2.5, "cell_c": 3.5, "cell_alpha": 4.5, "cell_beta": 5.5, "cell_gamma": 6.5}
MATRIX = {f"raw_orientation_matrix_{axis}_{part}": number for number, (axis, part) in enumerate(
    (axis, part) for axis in "abc" for part in "xyz"
)}  # fmt: skip
STAGE = {"spaceGroupId": None, "lowRes": 50.5, "highRes": 2.5}
PHASING = {
    "PhasingContainer": {
        "PhasingAnalysis": {"recordTimeStamp": STARTED},
        "PhasingProgramRun": [
            {"phasingCommandLine": "p" * 300, "phasingPrograms": "fast_ep", "phasingStatus": 1, "phasingMessage": "ok",
             "phasingStartTime": STARTED, "phasingEndTime": ENDED}
        ],
        "PhasingProgramAttachment": [
            {"fileType": "Map", "fileName": "x.map", "filePath": "/dls", "recordTimeStamp": ENDED},
            {"fileType": "Logfile", "fileName": "x.log", "filePath": "/dls", "recordTimeStamp": ENDED},
        ],
        "Phasing_has_ScalingContainer": {"PhasingStatistics": [
            {"numberOfBins": 2, "binNumber": 1, "lowRes": 50.5, "highRes": 3.5, "metric": "FOM",
             "statisticsValue": 0.5, "nReflections": 100},
            {"numberOfBins": 2, "binNumber": 2, "lowRes": 3.5, "highRes": 2.5, "metric": "FOM",
             "statisticsValue": None},
        ]},
        "PreparePhasingData": STAGE,
        "SubstructureDetermination": STAGE | {"method": "SAD"},
        "Phasing": STAGE | {"method": "solvent flattening", "solventContent": 0.5, "enantiomorph": True},
        "ModelBuilding": STAGE,
    }
}  # fmt: skip


def command(name: str, store_result: str | None = None, **values: Any) -> dict[str, Any]:
    return {"ispyb_command": name, **({"store_result": store_result} if store_result else {}), **values}


SWEPT = command("create_ispyb_job", DCID="$dcid")  # with sweeps, in which nothing is replaced
SCRIPT = [
    command("create_ispyb_job", "job", DCID="$dcid", displayname="d" * 100, comment="c" * 300, recipe="autoprocessing",
            source="automatic", parameters=[{"key": "k", "value": "v"}, {"key": "k", "value": "w"}], sweeps=[]),
    SWEPT,
    command("update_ispyb_job", job_id="$job", comment="again"),
    command("register_processing", "program", program="xia2 dials", cmdline="x" * 300, rpid="$job",
            environment={"a": 1, "b": "two"}),
    command("update_processing_status", program_id="$program", message="m" * 100, start_time=STARTED,
            update_time=STARTED),
    command("update_processing_status", program_id="$program", update_time="2024-05-01 11:00:00", message="older"),
    command("update_processing_status", program_id="$program", status="success", update_time=ENDED),
    command("update_processing_status", program_id="$program", status="failure", message="too late"),
    command("update_program_name", program_id="$program", program="too late"),
    command("add_program_message", program_id="$program", severity="warning", message="m" * 300, description="d" * 300),
    command("write_autoproc", "autoproc", program_id="$program", spacegroup="P 41 21 2",
            **{f"refined{name}": value for name, value in CELL.items()}),
    command("write_autoproc", autoproc_id="$autoproc", refinedcell_a=7.5),
    command("insert_scaling", "scaling", autoproc_id="$autoproc", overall=SHELL, innerShell={},
            outerShell={"cc_half": 1}),
    command("upsert_integration", "integration", dcid="$dcid", program_id="$program", scaling_id="$scaling", anom=True,
            beam_vec_x=1, beam_vec_y=2, beam_vec_z=3, start_image_no=1, end_image_no=1800, refined_detector_dist=250.5,
            refined_xbeam=7, refined_ybeam=8, rot_axis_x=9, rot_axis_y=10, rot_axis_z=11, **CELL),
    command("upsert_integration", integration_id="$integration", dcid="$dcid", scaling_id="$scaling", cell_a=8.5),
    command("register_integration", dcid="$dcid"),
    command("insert_mxmr_run", "run", scaling_id="$scaling", success=True, message="m" * 300, pipeline="dimple",
            cmdline="c" * 255, rstart=0.5, rend=0.25, rfreestart=0.75, rfreeend=0.375, starttime=STARTED,
            endtime=ENDED, rundir="/dls/run/", inputcoordfile="/dls/run/in.pdb", inputmtzfile="in.mtz",
            outputcoordfile="sub/out.pdb", outputmtzfile="/dls/run/out.mtz", logfile="/dls/run/dimple.log"),
    command("insert_mxmr_run", id="$run", scaling_id="$scaling", rend=0.125),
    command("insert_mxmr_run", scaling_id="$scaling", starttime=STARTED, log_file="/dls/dimple.log"),
    command("insert_mxmr_run_blob", "blob", mxmr_run_id="$run", view1="/dls/1.png", view2="/dls/2.png"),
    command("insert_mxmr_run_blob", id="$blob", mxmr_run_id="$run", view3="/dls/3.png"),
    command("insert_phasing_analysis_results", scaling_id="$scaling", phasing_results=PHASING),
    command("insert_phasing_analysis_results", scaling_id="$scaling",
            phasing_results={"PhasingContainer": {"PhasingAnalysis": {"recordTimeStamp": STARTED}}}),
    command("insert_screening", "screening", dcid="$dcid", programversion="EDNA", shortcomments="s" * 30, comments="c",
            autoprocprogramid="$program"),
    command("insert_screening_input", screening_id="$screening", beamx=1.5, beamy=2.5, rms_err_lim=3.5,
            min_fraction_indexed=0.5, max_fraction_rejected=0.25, min_signal2noise=2.5),
    command("insert_screening_output", "output", screening_id="$screening", statusdescription="ok",
            rejectedreflections=1, resolutionobtained=1.5, spotdeviationr=2.5, spotdeviationtheta=3.5, beamshiftx=4.5,
            beamshifty=5.5, numspotsfound=6, numspotsused=7, numspotsrejected=8, mosaicity=0.5, ioversigma=9.5,
            diffractionrings=1, rankingresolution=10.5, program="EDNA", dosetotal=11.5, totalexposuretime=12.5,
            totalrotationrange=13.5, totalnoimages=14, rfriedel=15.5, alignmentSuccess=True),
    command("insert_screening_output", screening_id="$screening"),
    command("insert_screening_output_lattice", screening_output_id="$output", spacegroup="P41212", pointgroup="422",
            bravaislattice="tP", labelitindexing=True, **MATRIX,
            **{f"unit_{name}": value for name, value in CELL.items()}),
    command("insert_screening_output_lattice", screening_output_id="$output"),
    command("insert_screening_strategy", "strategy", screening_output_id="$output", phistart=1, phiend=2, rotation=0.5,
            exposuretime=0.25, resolution=1.5, completeness=99.5, multiplicity=3.5, program="BEST",
            rankingresolution=1.75, transmission=12.5),
    command("insert_screening_strategy_wedge", "wedge", screening_strategy_id="$strategy", wedgenumber=2,
            resolution=1.5, completeness=99.5, multiplicity=3.5, dosetotal=4.5, noimages=180, phi=5.5, kappa=6.5,
            chi=7.5, comments="first", wavelength=0.5),
    command("insert_screening_strategy_sub_wedge", screening_strategy_wedge_id="$wedge", subwedgenumber=3,
            rotationaxis="omega", axisstart=1.5, axisend=2.5, exposuretime=0.25, transmission=12.5,
            oscillationrange=0.5, completeness=99.5, multiplicity=3.5, resolution=1.75, dosetotal=4.5, noimages=180,
            comments="x"),
    command("insert_data_collection_group", "group", session_id="$session_id", experiment_type="em",
            start_time=STARTED, comments="c"),
    command("insert_data_collection", "collection", dcgid="$group", start_time=STARTED, image_directory="/dls/em/",
            image_suffix="tiff", voltage=300.5),
    command("upsert_data_collection_mx", dcid="$collection", xtal_snapshot1="/dls/1.png", xtal_snapshot4="/dls/4.png"),
    command("upsert_data_collection_mx", dcgid="$group", xtal_snapshot2="/dls/2.png"),
    command("store_per_image_analysis_results", dcid="$dcid", **{"file-number": 7}, n_spots_total=5,
            n_spots_no_ice=4, estimated_d_min=2.5, total_intensity=100.5),
    command("store_per_image_analysis_results", dcid="$dcid", **{"file-pattern-index": 7}, dozor_score=1.5),
    command("store_per_image_analysis_results", dcid="$dcid", **{"file-number": 8}, n_spots_total=0),
    command("retrieve_programs_for_job_id", "programs", rpid="$job"),
    command("retrieve_proposal_title", visit="$visit"),
]  # fmt: skip
