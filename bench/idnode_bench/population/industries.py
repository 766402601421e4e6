"""The industries a factory population is made of. All names are fictional, all prefixes begin with 99."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Industry:
    """What the records of an industry look like.

    ``serial_head`` begins every suffix; twelve digits follow. ``extra`` attributes stand in the mixed population only,
    (type, text): they make its records of different sizes.
    """

    code: str
    serial_head: str
    unit: str
    products: tuple[str, ...]
    grades: tuple[str, ...]
    extra: tuple[tuple[str, str], ...] = ()


INDUSTRIES: Final = (
    Industry("steel", "COIL-", "mm", ("热轧卷板", "中厚板", "螺纹钢", "H型钢"), ("Q235B", "Q355D"),
             (("HEAT", "转炉三号"), ("COATING", "无"), ("STANDARD", "GB/T 700-2006"))),
    Industry("electronics", "PCB-", "mV", ("控制器主板", "功率模块", "温度传感器", "工业网关"), ("IPC-2", "IPC-3"),
             (("FIRMWARE", "v4.12.7"), ("ROHS", "compliant"))),
    Industry("equipment", "EQ-", "kN", ("数控车床", "减速机", "液压泵", "输送机"), ("IP54", "IP65"),
             (("MANUAL", "https://id.example.org/manuals/eq-4711.pdf"), ("WARRANTY", "24 months"))),
    Industry("biomedicine", "UDI-", "ml", ("注射用冻干粉针", "血糖试纸", "一次性输液器", "诊断试剂盒"), ("II", "III"),
             (("STORAGE", "2-8 °C"), ("EXPIRY", "36 months"), ("APPROVAL", "fictional 2026-3140001"))),
    Industry("automotive", "VIN-", "Nm", ("制动盘", "转向节", "车桥总成", "车身线束"), ("8.8", "10.9"),
             (("PLATFORM", "EX-7"),)),
    Industry("wine", "BTL-", "ml", ("陈酿白酒", "干红葡萄酒", "黄酒", "果酒"), ("特级", "优级"),
             (("VINTAGE", "2021"), ("CELLAR", "地窖七区"), ("SEAL", "NFC"))),
    Industry("chemistry", "DRUM-", "kg", ("环氧树脂", "聚醚多元醇", "阻燃剂", "水处理剂"), ("工业级", "试剂级"),
             (("HAZARD", "none"), ("SDS", "https://id.example.org/sds/3300.pdf"))),
    Industry("energy", "PV-", "W", ("光伏组件", "储能电池", "配电变压器", "逆变器"), ("A", "A+"),
             (("CELL", "TOPCon"),)),
    Industry("textile", "ROLL-", "m", ("涤棉坯布", "纯棉纱线", "工装面料", "家纺套件"), ("一等品", "优等品")),
    Industry("logistics", "BOX-", "kg", ("标准托盘", "周转箱", "集装袋", "冷链箱"), ("4-way", "2-way"),
             (("TRACE", "GPS + BLE"), ("ROUTE", "济南 – 青岛 – 烟台"))),
)  # fmt: skip
