"""The records an enterprise node starts with: products of its industry, fictional, the same for the same seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

from idnode_protocol.value import HandleValue

ADMIN_INDEX: Final = 100
FIRST_FIELD_INDEX: Final = 2_000
"""Where the data fields begin, beside URL at 1; below lie administration and keys."""
LOTS_FROM: Final = 240_101

PRODUCTS: Final[dict[str, tuple[str, ...]]] = {
    "steel": ("热轧卷板", "中厚板", "螺纹钢", "H型钢"),
    "electronics": ("控制器主板", "功率模块", "温度传感器", "工业网关"),
    "equipment": ("数控车床", "减速机", "液压泵", "输送机"),
    "biomedicine": ("注射用冻干粉针", "血糖试纸", "一次性输液器", "诊断试剂盒"),
    "automotive": ("制动盘", "转向节", "车桥总成", "车身线束"),
    "chemistry": ("环氧树脂", "聚醚多元醇", "阻燃剂", "水处理剂"),
    "food": ("小麦粉", "花生油", "速冻水饺", "纯牛奶"),
    "textile": ("涤棉坯布", "纯棉纱线", "工装面料", "家纺套件"),
    "building": ("水泥", "预拌混凝土", "保温板", "铝合金型材"),
    "energy": ("光伏组件", "储能电池", "配电变压器", "逆变器"),
    "logistics": ("标准托盘", "周转箱", "集装袋", "冷链箱"),
    "aerospace": ("复合材料壳体", "紧固件", "导管组件", "地面测试台"),
}
ANY_PRODUCT: Final = ("零部件", "组件", "成品", "备件")


def _drawn(seed: int, *what: object) -> int:
    """A number that is the same for the same seed and place."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{'/'.join(map(str, what))}".encode()).digest()[:8], "big")


def population(seed: int, prefix: str, industry: str, count: int) -> Iterator[tuple[str, tuple[HandleValue, ...]]]:
    """(handle, values) of ``count`` records under ``prefix``, without HS_ADMIN."""
    products = PRODUCTS.get(industry, ANY_PRODUCT)
    for number in range(1, count + 1):
        draw = _drawn(seed, prefix, number)
        product = products[draw % len(products)]
        lot = LOTS_FROM + draw // 7 % 600
        handle = f"{prefix}/{lot}.{number:06d}"
        fields = (("NAME", product), ("MODEL", f"M{draw % 90 + 10}"), ("LOT", str(lot)), ("SERIAL", f"{number:06d}"))
        values = [HandleValue(1, "URL", f"https://example.org/{prefix}/{number}".encode())]
        values += [
            HandleValue(FIRST_FIELD_INDEX + place, kind, text.encode()) for place, (kind, text) in enumerate(fields)
        ]
        yield handle, tuple(values)
