"""Score any segmentation map and catalogue against truth; calibrate probabilities with it."""

from morpheus_lite.evaluation.calibration import calibrate_files, calibrate_results
from morpheus_lite.evaluation.field import (
    Result,
    Truth,
    make_result,
    make_truth,
    read_result,
    read_truth,
    truth_of_simulation,
)
from morpheus_lite.evaluation.report import evaluate_files, write_evaluation
from morpheus_lite.evaluation.scores import EvaluationOptions, Scores, pool_scores
from morpheus_lite.evaluation.scoring import evaluate
from morpheus_lite.evaluation.source_calibration import calibrate_source_files
from morpheus_lite.evaluation.summary import format_scores, summarise
