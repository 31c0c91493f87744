"""Dispatch from the flags to the mode that they name."""

import sys
from pathlib import Path

from synthct_jax import flags
from synthct_jax.dose import dose_flags, plans
from synthct_jax.evaluation import ct_flags
from synthct_jax.reader_study import study_flags
from synthct_jax.runtime import environment, processes, signals


def run_mode() -> int:
    """Run the mode of the command line; return its exit status.

    A mode is imported when it runs: jax must not start before its environment is set.
    """
    workdir, data_dir = flags.path(flags.WORKDIR), flags.path(flags.DATA_DIR)
    output, step = flags.path(flags.OUTPUT), flags.STEP.value
    model, device = flags.MODEL.value, flags.DEVICE.value
    if flags.MODE.value in ("translate", "calibrate", "evaluate", "benchmark"):
        environment.require_device(device)
    match flags.MODE.value:
        case "prepare":
            from input_pipeline.preparation.prepare import prepare

            prepare(flags.CONFIG.value, flags.path(flags.RAW_DIR), data_dir)
        case "train":
            processes.init_distributed()
            environment.require_device(device)
            from synthct_jax.evaluation.guard import StoppedByGuard
            from synthct_jax.train import train

            try:
                done = train(
                    flags.CONFIG.value,
                    workdir=workdir,
                    data_dir=data_dir,
                    anatomies_dir=flags.path(flags.ANATOMIES_DIR),
                )
            except StoppedByGuard as stopped:
                print(f"error: {stopped}", file=sys.stderr)
                return signals.GUARDED
            return 0 if done else signals.RESUMABLE
        case "evaluate":
            from synthct_jax.evaluation import evaluate, watch
            from synthct_jax.metrics.inception import load_inception

            weights = flags.path(flags.INCEPTION)
            inception = weights and load_inception(weights)
            options = dict(data_dir=data_dir, output_dir=output, inception=inception)
            options["split"] = flags.SPLIT.value
            if flags.WATCH.value:
                options["poll_seconds"] = flags.POLL_SECONDS.value
                return 0 if watch.watch(workdir, **options) else signals.RESUMABLE
            options["views"] = flags.VIEWS.value
            if model is None:
                evaluation = evaluate.evaluate_run(workdir, step=step, **options)
            else:
                evaluation = evaluate.evaluate_model(model, **options)
            print(f"Report: {evaluation.report}")
        case "export" if model is not None:
            from synthct_jax.inference.onnx_file import export_onnx

            export_onnx(model, output)
            print(f"Model: {output}")
        case "export":
            from synthct_jax.inference.export import export

            export(workdir, output, step=step, card=flags.path(flags.CARD))
            print(f"Model: {output}, with its card beside it")
        case "calibrate":
            from synthct_jax.quality.calibrate import calibrate

            calibrate(model, data_dir, output)
            print(f"Model: {output}, with limits in its card")
        case "adapt":
            from synthct_jax.adaptation import runner

            config = flags.CONFIG.value
            return runner.run_adaptation(
                model,
                flags.path(flags.RAW_DIR),
                output,
                workdir=workdir,
                config=config,
                source=None if config is None else flags.config_source(),
                force=flags.FORCE.value,
            )
        case "compare":
            from synthct_jax.evaluation.comparison import documents

            runs = [Path(run).expanduser() for run in flags.RUNS.value]
            documents.compare_runs(runs, output := output or documents.FOLDER)
            print(f"Comparison: {output / 'compare.html'}")
        case "translate":
            from input_pipeline.scans import dicom_send
            from synthct_jax.translate import translate, translate_all

            scan, views = flags.INPUT.value, flags.VIEWS.value
            options = dict(workdir=workdir, step=step, model=model, views=views)
            options["pseudonymise"] = flags.PSEUDONYMISE.value
            options["force"] = flags.FORCE.value
            options["structures"] = flags.STRUCTURES.value
            options["series"] = flags.SERIES.value
            if address := flags.SEND.value:
                dicom_send.check_address(address)  # before the work
            if (patients := flags.path(flags.PATIENTS)) is None:
                translate(scan, output, **options)
                print(f"Synthetic CT, preview and report: {output}")
                return _send(output, address) if address else 0
            done, failures = translate_all(patients, output, **options)
            for name, reason in failures.items():
                print(f"error: {name}: {reason}", file=sys.stderr)
            total = len(done) + len(failures)
            print(f"{len(done)} of {total} patients are translated: {output}")
            return 1 if failures else 0
        case "send":
            return _send(Path(flags.INPUT.value).expanduser(), flags.SEND.value)
        case "score":
            from synthct_jax.evaluation import score

            files = flags.INPUT.value, ct_flags.TRUTH.value
            print(score.report(*files, mask=ct_flags.MASK.value, output=output))
        case "organs":
            from synthct_jax.evaluation import organs

            table = organs.report(
                flags.INPUT.value,
                ct_flags.MASKS.value,
                ct_flags.ORGANS.value,
                contrast=ct_flags.CONTRAST.value,
                data_dir=data_dir,
                output=output,
            )
            print(table)
        case "dose":
            print(f"Report: {_dose(output)}")
        case "reader_plan":
            from synthct_jax.reader_study.sample_size import format_plan

            plan = format_plan(
                margin=study_flags.MARGIN.value,
                reader_sd=study_flags.READER_SD.value,
                case_sd=study_flags.CASE_SD.value,
            )
            print(plan)
        case "reader_kit":
            from synthct_jax.reader_study.kit import make_kit

            pages = make_kit(
                study_flags.REAL.value,
                study_flags.SYNTHETIC.value,
                output=output,
                key=(key := flags.path(study_flags.KEY)),
                readers=study_flags.READERS.value,
                design=study_flags.DESIGN.value,
                cases=study_flags.CASES.value,
                slices=study_flags.SLICES.value,
                repeats=study_flags.REPEATS.value,
                seed=study_flags.SEED.value,
                margin=study_flags.MARGIN.value,
            )
            print(f"{len(pages)} pages for readers: {output}; keep {key} from them")
        case "reader_study":
            from synthct_jax.reader_study.report import write_report

            answers = [Path(path).expanduser() for path in study_flags.ANSWERS.value]
            page = write_report(answers, flags.path(study_flags.KEY), output)
            print(f"Report: {page}")
        case "sweep":
            from synthct_jax.sweep import plan_file, runner

            variants, seeds = flags.VARIANTS.value, flags.SEEDS.value
            plan = plan_file.make_plan(*flags.config_source(), variants, seeds)
            only = None if flags.ONLY.value < 0 else flags.ONLY.value
            raw_dir = flags.path(flags.RAW_DIR)
            return runner.run_sweep(plan, folder=workdir, raw_dir=raw_dir, only=only)
        case "plan":
            from synthct_jax.performance.plan import chips, report, step_plan

            devices = chips.make_devices(flags.TOPOLOGY.value)
            plan = step_plan.plan_step(flags.CONFIG.value, devices)
            print(report.format_report(plan))
        case "benchmark":
            from synthct_jax.performance.benchmark import suite

            output = output or Path(suite.OUTPUT)
            print(suite.format_table(suite.run_benchmark(flags.CONFIG.value, output)))
    return 0


def _dose(output: Path) -> Path:
    """Check the dose on CT files or of a model; return the page."""
    dose_flags.check()
    gantry = plans.check_gantry(dose_flags.GANTRY.value)
    from synthct_jax.dose import runner

    if flags.INPUT.value is not None:
        return runner.check_files(
            flags.INPUT.value,
            ct_flags.TRUTH.value,
            ct_flags.MASK.value,
            output=output,
            organs=ct_flags.ORGANS.value,
            radiations=dose_flags.radiations(),
            proton_gantry=gantry,
        )
    environment.require_device(flags.DEVICE.value)
    return runner.check_model(
        flags.path(flags.WORKDIR),
        flags.MODEL.value,
        output=output,
        data_dir=flags.path(flags.DATA_DIR),
        step=flags.STEP.value,
        views=flags.VIEWS.value,
        split=flags.SPLIT.value,
        subjects=dose_flags.SUBJECTS.value,
        radiations=dose_flags.radiations(),
    )


def _send(output: Path, address: str) -> int:
    """Send the CT series of an output; return the exit status."""
    from input_pipeline.scans import dicom_send

    paths = dicom_send.find_series(output)
    refused = dicom_send.send(paths, address)
    for sentence in dicom_send.describe_refused(refused):
        print(f"error: {sentence}", file=sys.stderr)
    print(f"{len(paths) - len(refused)} of {len(paths)} instances sent to {address}")
    if not refused:
        return 0
    print(f"Again: synthct send --input={output} --send={address}", file=sys.stderr)
    return dicom_send.UNSENT
