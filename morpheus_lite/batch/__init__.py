"""Many images: thousands of tiles on Dask, resumable, merged to one catalogue without seams."""

from morpheus_lite.batch.cluster import ClusterOptions
from morpheus_lite.batch.manifest import read_tiles
from morpheus_lite.batch.survey import RunOptions, SurveyResult, classify_survey
from morpheus_lite.batch.tiles import Tile

__all__ = ["ClusterOptions", "RunOptions", "SurveyResult", "Tile", "classify_survey", "read_tiles"]
