"""What a plugin is written against: nodes, programs, estimators and tasks. Needs torch only."""
