exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
"$PYTHON" report.py
