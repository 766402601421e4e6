"""The model, and who is sent elsewhere: an absent derived prefix, where an ancestor says in public who holds those."""

# fmt: off
from __future__ import annotations

from tests.registry.model.registry_model import Model, first, fold

TOLD = {"HS_SITE.PREFIX", "HS_NA_DELEGATE", "HS_SERV.PREFIX"}
class ReferringModel(Model):
    def told(self, key):  # {index: value} of the nearest ancestor that says it
        ups = [key[:dot] for dot in range(len(key) - 1, 4, -1) if key[dot] == 46 and key[:5] == b"0.NA/"]
        said = [{i: v for i, v in self.records.get(up, {}).items() if v[0].upper() in TOLD and v[2] & 2} for up in ups]
        return next(filter(None, said), {})
    def absent(self, key, refers, code=100):
        return 0 if key in self.records else 303 if refers and self.told(key) else code
    def names(self, who, prefix, refers=True):
        code, names = super().names(who, prefix)
        is_sent = code == 301 and prefix[:10].upper() != b"0.NA/0.NA/" and refers
        key = fold(prefix, True)
        return first(is_sent and not self.elsewhere(key) and self.absent(key, refers, 0), code), names
