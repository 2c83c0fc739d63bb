"""Every row of what an exact resume must survive: a name and its overrides."""

from collections.abc import Mapping

# Fits that change more than a `state_dict` holds, and trials with several fits.
STAGES: Mapping[str, tuple[str, ...]] = {
    "BackboneFinetuning": ("kind=finetuning",),
    "thaw by hand": ("kind=thaw",),
    "batch norm in eval mode": ("kind=frozen_norm",),
    "attributes": ("kind=attributes",),
    "max_epochs moved": ("kind=longer",),
    "SWA": ("kind=averaging",),
    "GradientAccumulationScheduler": ("kind=accumulation",),
    "folds": ("kind=folds", "epochs=2"),
    "one net, two Trainers": ("kind=one_net", "epochs=3"),
    "pretraining": ("kind=pretraining",),
    "one Trainer, two fits": ("kind=twice",),
    "a fit that fails and another one": ("kind=retried", "epochs=3"),
    "from the best of a first fit": ("kind=from_best",),
    "LearningRateFinder": ("kind=search_rate",),
    "LearningRateFinder at milestones": ("kind=search_milestones",),
    "BatchSizeFinder": ("kind=search_batch",),
    "Tuner": ("kind=search_tuner",),
    "folds, pytorch_lightning": ("kind=folds", "epochs=2", "package=pytorch_lightning"),
}

CASES: Mapping[str, tuple[str, ...]] = {
    **STAGES,
    "plain": (),
    "two workers": ("workers=2",),
    "persistent workers": ("workers=2", "persistent=true"),
    "own generator": ("loader=generator",),
    "own generator, persistent workers": (
        *("loader=generator", "workers=2", "persistent=true"),
    ),
    "weighted sampler": ("loader=weighted",),
    "StatefulDataLoader": ("loader=stateful",),
    "StatefulDataLoader, workers": ("loader=stateful", "workers=2"),
    "iterable data": ("loader=stream",),
    "own sampler": ("loader=own_sampler",),
    "two loaders": ("loader=two",),
    "StepLR": ("scheduler=step",),
    "cosine per step": ("scheduler=cosine",),
    "ReduceLROnPlateau": ("scheduler=plateau", "epochs=5"),
    "ReduceLROnPlateau on a training metric": ("scheduler=plateau_train",),
    "ReduceLROnPlateau per step": ("scheduler=plateau_step",),
    "gradient accumulation": ("accumulate=3", "scheduler=cosine"),
    "validation twice an epoch": ("val_check_interval=0.5", "scheduler=plateau"),
    "validation every other epoch": (
        *("check_val_every_n_epoch=2", "scheduler=plateau_lenient", "epochs=5"),
        "callbacks=[early_stopping]",
    ),
    "manual optimisation": ("automatic=false",),
    "EarlyStopping": ("epochs=12", "callbacks=[early_stopping]"),
    "EarlyStopping twice an epoch": (
        *("epochs=12", "val_check_interval=0.5", "callbacks=[early_stopping]"),
    ),
    "WeightAveraging": ("callbacks=[averaging]",),
    "EMA of sweeper.vision": ("callbacks=[ema]",),
    "EMA that resets itself": ("callbacks=[resetting_ema]",),
    "work in on_train_epoch_start": ("callbacks=[counting]",),
    "own ModelCheckpoint": ("callbacks=[checkpoint,early_stopping]", "epochs=6"),
    "own ModelCheckpoint with names": ("callbacks=[checkpoint_names]",),
    "ckpt_path=last": ("ckpt_path=last", "callbacks=[checkpoint]"),
    "max_steps": ("max_steps=15",),
    "all at once": (
        *("loader=generator", "workers=2", "persistent=true", "scheduler=plateau"),
        *("accumulate=3", "val_check_interval=0.5", "patience=5"),
        "callbacks=[early_stopping,averaging,resetting_ema,counting,checkpoint]",
    ),
    "pytorch_lightning": (
        *("package=pytorch_lightning", "scheduler=plateau"),
        "callbacks=[early_stopping,averaging,checkpoint]",
    ),
}

# One of each kind of trouble, for the tests that run all the time.
QUICK = ("plain", "ReduceLROnPlateau", "own ModelCheckpoint", "pytorch_lightning")

# Fits that are saved within their epochs, with the batches of the third one that a cut
# after its fourth batch leaves to do.
MIDDLE: Mapping[str, int] = {
    "two workers": 2,
    "own generator, persistent workers": 2,
    "weighted sampler": 2,
    "StatefulDataLoader": 2,
    "ReduceLROnPlateau per step": 2,
    "gradient accumulation": 3,
    "validation twice an epoch": 2,
    "manual optimisation": 2,
    "WeightAveraging": 2,
    "own ModelCheckpoint": 2,
    "pytorch_lightning": 2,
    "thaw by hand": 2,
    "GradientAccumulationScheduler": 2,
}
