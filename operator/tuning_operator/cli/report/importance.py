"""Which parameters mattered, by PED-ANOVA: how different the good trials' values are from everybody's.

Watanabe, Bansal, Hutter 2023, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces"
(arXiv 2304.10255), as Optuna implements it; it ranks, so results that differ by orders of magnitude do no harm.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

from tuning_operator.api.parameters import Parameter, ParameterType, Scale
from tuning_operator.cli import reading
from tuning_operator.cli.report.picture import BLUE, Picture, layout, safe
from tuning_operator.engine.view import JobView

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

LEAST_TRIALS: Final = 10


def importances(view: JobView) -> dict[str, float]:
    """Return the share of each parameter, largest first; empty while too few trials have a result."""
    trials = reading.with_result(view)
    if len(trials) < LEAST_TRIALS:
        return {}
    import optuna

    distributions = {parameter.name: _distribution(parameter) for parameter in view.spec.parameters}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = optuna.create_study(direction="minimize")
            for trial in trials:
                known = {name: value for name, value in trial.parameters.items() if name in distributions}
                study.add_trial(
                    optuna.trial.create_trial(
                        params=known,
                        distributions={name: distributions[name] for name in known},
                        value=reading.loss(view, trial.result or 0.0),
                    )
                )
            return dict(
                optuna.importance.get_param_importances(
                    study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
                )
            )
    finally:
        optuna.logging.set_verbosity(verbosity)


def _distribution(parameter: Parameter) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    is_log = parameter.scale is Scale.LOG
    if parameter.type is ParameterType.CATEGORICAL:
        return CategoricalDistribution(parameter.choices or ())
    low, high = parameter.min or 0.0, parameter.max or 0.0
    if parameter.type is ParameterType.INT:
        return IntDistribution(int(low), int(high), log=is_log)
    return FloatDistribution(low, high, log=is_log)


def importance(view: JobView) -> Picture:
    """A bar for each parameter."""
    picture: dict[str, Any] = {
        "name": "importance",
        "title": "What mattered",
        "reading": "The longer the bar, the more the values of the best tenth of the trials differ from all others "
        "(PED-ANOVA; the bars add up to 100 %, and say nothing about which value is good).",
    }
    shares = importances(view)
    if not shares:
        count = len(reading.with_result(view))
        missing = f"It takes {LEAST_TRIALS} trials with a result to say anything; there are {count}."
        return Picture(**picture, figure=None, missing=missing)
    names = list(shares)[::-1]
    values = [shares[name] * 100 for name in names]
    figure = {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "x": values,
                "y": [safe(name) for name in names],
                "text": [f"{value:.0f} %" for value in values],
                "textposition": "outside",
                "cliponaxis": False,
                "marker": {"color": BLUE},
                "hovertemplate": "%{y}: %{x:.1f} %<extra></extra>",
            }
        ],
        "layout": layout(
            height=90 + 34 * len(names),
            showlegend=False,
            margin={"l": 16, "r": 48, "t": 8, "b": 40},
            xaxis={"ticksuffix": " %", "rangemode": "tozero"},
            yaxis={"automargin": True, "type": "category", "ticksuffix": "  "},
        ),
    }
    return Picture(**picture, figure=figure)
