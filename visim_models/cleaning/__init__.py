"""Clean a set of pictures: find the ones to take out, plan it, move them out, and bring them back.

`find_duplicates`, `find_leaks` and `find_like` search galleries; `CleanUp` does all of it over a folder or zip and
makes a `Plan`, which `Plan.apply` carries out and `Journal.undo` takes back.
"""

from visim_models.cleaning.apply import Applied
from visim_models.cleaning.clean_up import CleanUp, Wanted
from visim_models.cleaning.duplicates import Group, find_duplicates
from visim_models.cleaning.faults import Fault, find_faults, find_strange
from visim_models.cleaning.journal import Journal, Undone
from visim_models.cleaning.leaks import Pair, find_leaks
from visim_models.cleaning.look_alikes import find_like
from visim_models.cleaning.plan import Plan, PlanRow
from visim_models.cleaning.quality import Preference
from visim_models.cleaning.survey import Survey, survey_pictures

__all__ = [
    "Applied",
    "CleanUp",
    "Fault",
    "Group",
    "Journal",
    "Pair",
    "Plan",
    "PlanRow",
    "Preference",
    "Survey",
    "Undone",
    "Wanted",
    "find_duplicates",
    "find_faults",
    "find_leaks",
    "find_like",
    "find_strange",
    "survey_pictures",
]
