"""What a trial costs beside its training, in a study of many: asked for, drawn, composed, pruned or not, and told."""

import json
import random
import sys
import tempfile
import time
import warnings
from statistics import median

import optuna
from optuna.samplers import RandomSampler

from pipeline.studies.plan import make_plan
from pipeline.studies.sampling import build_pruner, build_sampler, draw
from pipeline.studies.storage import finished, open_storage, study_dir

N_MEASURED = 15


def main() -> None:
    warnings.simplefilter("ignore")
    n_trials = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as root:
        plan = make_plan(["data=iris", "search=mlp", f"tracking.root={root}"])
        study_dir(root, plan.name).mkdir(parents=True)
        study = optuna.create_study(storage=open_storage(plan.config, plan.name), study_name=plan.name)
        generator = random.Random(0)
        times = []
        for number in range(n_trials + N_MEASURED):
            is_measured, start = number >= n_trials, time.perf_counter()
            study.sampler = build_sampler(plan.config.study, number, number) if is_measured else RandomSampler(number)
            study.pruner = build_pruner(plan.config.study)
            trial = study.ask()
            answers = draw(trial, plan.space, plan.length)
            if is_measured:
                plan.trial_config(answers)
            for epoch in range(plan.config.study.n_reports):
                trial.report(generator.random(), epoch)
                if is_measured:
                    trial.should_prune()
            study.tell(trial, generator.random())
            finished(study.get_trials(deepcopy=False))
            times += [1000 * (time.perf_counter() - start)] if is_measured else []
    sys.stdout.write(json.dumps({"ms": median(times)}))


if __name__ == "__main__":
    main()
