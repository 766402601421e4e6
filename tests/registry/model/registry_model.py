"""What a registry must do, importing nothing of it. Value: (type, data, permissions, time); caller: (handle, index)."""

# fmt: off
from __future__ import annotations

BITS = {(None, 0): 64, (None, 1): 512, (0, None): 32, (1, None): 256, (0, 0): 16, (1, 1): 128, (1, 0): 272, (0, 1): 528}
first = lambda *codes: next(filter(None, codes), 1)  # noqa: E731 - the first refusal, else success
def fold(name, whole):
    head, slash, tail = (name if b"/" in name else b"0.NA/" + name).partition(b"/")
    return head.upper() + slash + (tail.upper() if whole or head[:2] == b"0." else tail)
is_a = lambda value, kind="HS_ADMIN": value and (value[0].upper() + ".").startswith(kind + ".")  # noqa: E731
def malformed(values, name=b""):
    seen, bad = [index for index, _ in values], len(name) > 2048 or name.decode("utf-8", "ignore").encode() != name
    return 102 if bad else next((202 if i < 1 else 201 for n, i in enumerate(seen) if i < 1 or i in seen[:n]), 0)
class Model:
    def __init__(self, folds_all, homers):
        self.homers, self.records, self.spelled, self.homed = homers, {}, {}, frozenset()
        self.key = lambda name: fold(name, folds_all)
    def elsewhere(self, key):
        above = {b"0.NA/" + key[:dot] for dot in range(5, len(key)) if key[dot] == 46 and key[:5] == b"0.NA/"}
        return 301 * (not ({b"0.NA/" + key.partition(b"/")[0]} | above) & self.homed)
    def absent(self, key, refers, code=100): return 0 if key in self.records else code
    def refused(self, who, references):  # 0, or the code for whom neither a reference nor a group in it names
        for handle, index in references:
            group = self.records.get(self.key(handle), {}).get(index)
            references += [ref for ref in group[1] if ref not in references] if is_a(group, "HS_VLIST") else []
        ways = [i for h, i in references if isinstance(who, tuple) and self.key(h) == self.key(who[0])]
        return 402 if who is None else 0 if who == "system" or {0, who[1]} & {*ways} else 400
    def lacks(self, who, key, *bits):
        admins = [value[1] for value in self.records.get(key, {}).values() if is_a(value)]
        return self.refused(who, [(h, i) for mask, h, i in admins if all(mask & bit == bit for bit in bits)])
    def write(self, verb, who, name, values, now, overwrites=False, refers=True):
        key, new, old = self.key(name), dict(values), self.records.get(self.key(name), {})
        hit, missing = [i for i in new if i in old], not new.keys() <= old.keys()
        before = {"add": old if overwrites else {}, "modify": {**new, **old}}.get(verb, old)
        after = new if verb == "create" else {i: v for i, v in {**old, **new}.items() if v}
        differs = [i for i in {*old, *new} if old.get(i, ())[:3] != (new.get(i) or ())[:3]]
        touched = {"create": differs, "remove": hit}.get(verb, new)
        bits = [BITS[is_a(before.get(i)), is_a(new.get(i))] for i in touched]
        lacks = self.lacks(who, key, *bits or {"modify": [16], "remove": [32]}.get(verb, []))
        is_open = verb == "modify" and {*bits} == {16} and not missing and all(old[i][2] & 1 for i in hit)
        if verb == "create":
            up, bit = (key.rpartition(b".")[0], 4) if key[:5] == b"0.NA/" and b"." in key[5:] else (b"", 1)
            creation = self.lacks(who, up or b"0.NA/" + key.partition(b"/")[0], bit)
            whole = self.lacks(who, key, 512) and (self.lacks(who, key, 2) or creation)
            lacks = (lacks or any(bit & 512 for bit in bits)) and whole if key in self.records else creation
        bad = 0 if verb == "remove" else malformed(values, name if verb == "create" else b"")
        bad = bad or 202 * (verb == "add" and not new) or self.absent(key, refers, 100 * (verb != "create"))
        taken, frozen = key in self.records and not overwrites, not all(old[i][2] & 4 for i in hit)
        early = 101 * (verb == "create" and taken) or 401 * (verb == "modify" and frozen)
        late = {"create": 0, "add": 201 * bool(hit and taken)}.get(verb, 200 * missing)
        code = first(self.elsewhere(key), bad, early, not is_open and lacks, late)
        if code == 1:
            since = {i: old[i][3] if old.get(i, ())[:3] == v[:3] else now for i, v in after.items()}
            self.records[key] = {i: (*v[:3], since[i]) for i, v in after.items()}
            self.spelled.setdefault(key, name if b"/" in name else key)
        return code
    def delete(self, who, name, refers=True):
        code = first(self.elsewhere(key := self.key(name)), self.absent(key, refers), self.lacks(who, key, 2))
        return code if code != 1 else (self.spelled.pop(key), self.records.pop(key)) and 1
    def resolve(self, who, name, indexes, types, public_only, refers=True):
        key, stored = self.key(name), self.records.get(self.key(name), {})
        starts = [i for i, v in stored.items() for t in types if (v[0].upper() + ".").startswith(t) and t[-1] == "."]
        wanted = {*starts, *(i for i, v in stored.items() if i in indexes or v[0].upper() in types)}
        wanted = wanted if indexes or types else stored
        found = {i: v for i, v in stored.items() if i in wanted and (v[2] & 2 or not public_only)}
        rights = [v[2] & 10 for v in found.values()]
        lacks = 401 * (0 in rights) or (not all(bits & 2 for bits in rights) and self.lacks(who, key, 1024))
        return first(self.elsewhere(key), self.absent(key, refers), 200 * (not found), lacks), found
    def names(self, who, prefix):
        key, derived = fold(prefix, True), fold(prefix, True).startswith(b"0.NA/0.NA/")
        away = 301 * (not {key, b"0.NA/0.NA" if derived else key} & self.homed)
        code = first(102 * (key[:5] != b"0.NA/"), away, self.lacks(who, key[5 * derived :], 2048))
        return code, sorted(n for k, n in self.spelled.items() if k.startswith(key[5:] + (b"." if derived else b"/")))
    def home(self, who, prefix, on):
        key = fold(prefix, True)
        rest = key.removeprefix(b"0.NA/0.NA/").removeprefix(b"0.NA/")
        code = first(102 * (key[:5] != b"0.NA/" or not rest or b"/" in rest), self.refused(who, [*self.homers]))
        self.homed = self.homed if code != 1 else self.homed | {key} if on else self.homed - {key}
        return code
