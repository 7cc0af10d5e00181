"""The sections of pages, one module each; `report.content` says what a section is and how to add one."""
