"""Many images: thousands of tiles on Dask, resumable, merged to one catalogue without seams."""

from morpheus_lite.config.survey import ClusterOptions, RunOptions
from morpheus_lite.survey.manifest import read_tiles
from morpheus_lite.survey.run_survey import SurveyResult, classify_survey
from morpheus_lite.survey.tile import Tile

__all__ = ["ClusterOptions", "RunOptions", "SurveyResult", "Tile", "classify_survey", "read_tiles"]
