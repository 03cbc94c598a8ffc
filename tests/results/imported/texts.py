"""Small tables written out, and what reading them comes to."""

from distiller.results.imported import parse_mapping, read_import, read_table

STAGES = "stages: {s: [a, b]}"
MAPPING = "score: acc\ndataset: task\nseed: seed\nignore: note\n" + STAGES
TABLE = """\
a,b,acc,task,seed,note
x,1,0.5,trec,0,p
y,,0.6,trec,0,q
x,2,0.7,qa,1,r
"""
LONG = """\
id,a,epoch,acc,state,secs
1,x,1,0.3,RUNNING,1
1,x,2,0.4,RUNNING,2
1,x,4,0.35,COMPLETE,4
2,y,2,0.2,PRUNED,2
2,y,1,0.1,PRUNED,1
3,x,1,,FAIL,1
"""


def csv(place, text, name="t.csv"):
    (place / name).write_text(text)
    return read_table(place / name)


def reading(place, text, mapping, name="t.csv"):
    return read_import(csv(place, text, name), parse_mapping(mapping, "mapping.yaml"))
