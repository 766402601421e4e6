"""What a result looks like to people and to other programs: tables, JUnit, plots, one page."""
