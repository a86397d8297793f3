"""Making a study and opening one, the same from every page."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QWidget

from app.context import AppContext
from studies.design import template
from studies.study import PAPER_ARMS, Study

_FOLDER_SETTING = "study/folder"


def new_study(context: AppContext, parent: QWidget) -> None:
    """Ask for name and folder of a study and make it the open one, with the recommended protocol."""
    answer = context.dialogs.new_study(parent, study_folder(context))
    if answer is None:
        return
    name, folder = answer
    context.settings.setValue(_FOLDER_SETTING, str(folder.parent))
    context.run_study_task(lambda: Study.from_design(folder, template(PAPER_ARMS, name)), context.set_study)


def open_study(context: AppContext, parent: QWidget) -> None:
    """Ask for the folder of a study and make it the open one."""
    folder = context.dialogs.choose_folder(parent, "Open study", study_folder(context))
    if folder is not None:
        context.settings.setValue(_FOLDER_SETTING, str(folder.parent))
        context.open_study_in_background(folder)


def study_folder(context: AppContext) -> str:
    """Where studies were last made or opened."""
    return str(context.settings.value(_FOLDER_SETTING, str(Path.home())))
