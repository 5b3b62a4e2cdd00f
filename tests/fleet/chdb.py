import json, sys
from chdb import session

engine = session.Session()
answers = []
for statement in json.load(sys.stdin):
    try:
        answers.append(str(engine.query(statement, "JSONEachRow")))
    except Exception as error:
        sys.exit(f"{statement}\n{error}")
json.dump(answers, sys.stdout)
