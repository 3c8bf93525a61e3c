import re, textwrap
import pytest
from tests.docs import page, bills, figures
from tests.docs.test_pricing_examples import CALCULATED
from tests.docs.stories import Story
from tests.undoing import undone
def raws(body,out):
    known={page.normal(l):l for l in body.splitlines()}
    return [known.get(page.normal(l),l) if not l.startswith(" ") else l for l in out]
@pytest.mark.django_db
def test_fill(settings):
    s = page.text()
    names = [c for c in re.findall(r"^## (.+)$", s, re.M) if c!="Contents"]
    from tests.docs.test_pricing_examples import anchor
    s = s.replace("CONTENTS", textwrap.fill(" · ".join(f"[{n.replace(chr(32),chr(1))}](#{anchor(n)})" for n in names),118,break_on_hyphens=False,break_long_words=False).replace(chr(1)," "))
    errors=[]
    def sub(m):
        kind,name,body=m["kind"],m["name"],m["body"]
        if kind in ("terms","stripe"): return m[0]
        lines=[page.normal(l) for l in body.splitlines()]
        b=page.Block(kind,name,lines)
        try:
            if kind=="story":
                with undone():
                    out=list(Story(settings).play(b))
            else:
                if kind=="periods": b=b._replace(lines=[l.replace("?","x") for l in lines])
                out=CALCULATED[kind](b)
        except Exception as e:
            import traceback
            errors.append((kind,name,lines[:3],"".join(traceback.format_exception(e)[-6:])))
            return m[0]
        return f"```{kind}{' '+name if name else ''}\n"+"\n".join(raws(body,out))+"\n```"
    s=page.BLOCK.sub(sub,s)
    __import__("pathlib").Path("/tmp/filled.md").write_text(s)
    for e in errors: print(e[0],e[1],e[2]); print(e[3])
