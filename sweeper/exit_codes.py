"""The exit codes of every command, in one table.

| code | when |
|---|---|
| 0 | all went well; for `run`: every trial has ended |
| 1 | a bug of sweeper: a traceback |
| 2 | the user can fix it; one message says where and how |
| 3 | some trials failed |
| 4 | a budget was reached |
| 5 | another driver holds the sweep |
| 6 | the experiment file describes another sweep |
| 7 | Ray or the journal's process died; the same command resumes the sweep |
| 130 | interrupted; the same command resumes the sweep |

The codes 2, 5, 6 and 7 belong to the errors in `errors`.
"""

FINISHED = 0
FAILED_TRIALS = 3
BUDGET = 4
INTERRUPTED = 130
