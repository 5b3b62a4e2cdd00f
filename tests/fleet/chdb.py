import json, sys
from chdb import session

engine = session.Session()
answers = []
for statement in json.load(sys.stdin):
    try:
        answers.append(str(engine.query(statement, "JSONEachRow")))
    except Exception as error:
        if "NO_ZOOKEEPER" in str(error):
            answers.append("NO_ZOOKEEPER")
            continue
        sys.exit(f"{statement}\n{error}")
json.dump(answers, sys.stdout)
