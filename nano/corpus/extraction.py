"""Pulling named fields out of a paragraph into JSON.

Knows kinds of paragraphs (contacts, orders, events, …), the sentences that carry each field, and
how the request names the fields. Knows nothing of conversations.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from nano.corpus import values
from nano.corpus.draw import Draw
from nano.corpus.sample import Exchange

Value = str | int
Maker = Callable[[Draw, str], Value]


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its names in a request, how to make a value, and sentences that state it."""

    names: dict[str, list[str]]
    make: Maker
    sentences: dict[str, list[str]]


def _field(en: str, zh: str, make: Maker, *sentences: list[str]) -> Field:
    english, chinese = sentences
    return Field({"en": en.split("|"), "zh": zh.split("|")}, make,
                 {"en": english, "zh": chinese})  # fmt: skip


def _number(low: int, high: int) -> Maker:
    return lambda draw, _: draw.number(low, high)


NAME = _field("name|customer|full_name|person", "姓名|name|客户", values.person,
              ["[My name is|I am|This is] <v>.", "The [customer|contact|person] is [called |]<v>.", "<v> wrote to us[ today| this morning|].", "[It was sent by|We heard from|Signed by] <v>."],
              ["[我叫|我是|我的名字是]<v>。", "[客户|联系人]是<v>。", "[来信人|登记人]：<v>。", "<v>[今天|上午|]联系了我们。"])  # fmt: skip
CITY = _field("city|location|place|town", "城市|city|地点", values.city,
              ["[I live in|I am based in|The address is in|We are in] <v>.", "[The city is|It is located in|It happens in] <v>."],
              ["[我住在|我在|地址在]<v>。", "[城市是|位于|地点在]<v>。"])  # fmt: skip
EMAIL = _field("email|email_address", "邮箱|email", lambda draw, _: values.email(draw),
               ["[You can write to|Please reply to|My email is|The email address is] <v>.", "[Contact|Email]: <v>."],
               ["[邮箱是|请回复到|可以写信到]<v>。", "[邮箱|电子邮件]：<v>。"])  # fmt: skip
PHONE = _field("phone|phone_number", "电话|phone", lambda draw, _: values.phone(draw),
               ["[The phone number is|Call me at|Phone:|My number is] <v>."],
               ["[电话是|请拨打|电话：|手机号是]<v>。"])  # fmt: skip
AGE = _field("age", "年龄|age", _number(18, 89),
             ["[I am|The person is|Now] <v> years old.", "Age: <v>.", "[My|The] age is <v>."],
             ["今年<v>岁。", "年龄[是|：]<v>。", "<v>岁。"])  # fmt: skip
JOB = _field("job|occupation|profession", "职业|job", values.job,
             ["[I work as a|The job is|Works as a] <v>.", "Occupation: <v>."],
             ["[职业是|工作是|目前是]<v>。", "职业：<v>。"])  # fmt: skip
COMPANY = _field("company|employer|vendor", "公司|company", values.company,
                 ["[The company is|It is from|The invoice comes from|Employed by] <v>.", "Company: <v>."],
                 ["[公司是|来自|就职于|任职于]<v>。", "公司：<v>。"])  # fmt: skip
ORDER = _field("order_id|order_number|order", "订单号|order_id", lambda draw, _: values.code(draw),
               ["[The order number is|My order is|Order:|It is about order] <v>."],
               ["[订单号是|订单号：|关于订单]<v>。"])  # fmt: skip
PRODUCT = _field("product|item", "商品|product|产品", values.product,
                 ["[I ordered a|I bought a|The item is a|The product is a] <v>.", "[Item|Product]: <v>."],
                 ["[我订了|我买了|商品是|产品是]<v>。", "[商品|产品]：<v>。"])  # fmt: skip
QUANTITY = _field("quantity|count|amount", "数量|quantity", _number(1, 60),
                  ["[The quantity is|We need|Quantity:|In total] <v> pieces.", "Quantity: <v>."],
                  ["[数量是|一共|需要]<v>件。", "数量：<v>。"])  # fmt: skip
PRICE = _field("price|total|cost", "价格|price|总价", _number(5, 2999),
               ["[The price is|It costs|The total is|I paid] <v> [dollars|euros|kroner].", "Price: <v>."],
               ["[价格是|花了|总价]<v>元。", "价格：<v>。"])  # fmt: skip
DATE = _field("date|day", "日期|date", values.date,
              ["[The date is|It takes place on|It was on|Dated] <v>.", "Date: <v>."],
              ["[日期是|时间定在|安排在]<v>。", "日期：<v>。"])  # fmt: skip
TIME = _field("time|start_time", "时间|time", lambda draw, _: values.clock(draw),
              ["[It starts at|We begin at|The time is|Doors open at] <v>."],
              ["[开始时间是|时间是|准时]<v>。", "时间：<v>。"])  # fmt: skip
ROOM = _field("room", "房间|room", lambda draw, _: f"{draw.pick('ABCDEFG')}{draw.number(1, 499)}",
              ["[The room is|We meet in room|Room:] <v>."],
              ["[房间是|房间：|地点是房间]<v>。"])  # fmt: skip
PET = _field("pet|animal", "宠物|pet",
             lambda draw, language: draw.pick("猫 狗 兔子 鹦鹉 仓鼠 乌龟 金鱼".split() if language == "zh" else "cat dog rabbit parrot hamster turtle goldfish pony".split()),
             ["[I have a|My pet is a|There is a] <v> [at home|too|as well]."],
             ["[我养了一只|家里有一只|宠物是]<v>。"])  # fmt: skip
COLOR = _field("color|colour", "颜色|color",
               lambda draw, language: draw.pick("红色 蓝色 绿色 黄色 黑色 白色 紫色 橙色 灰色 粉色".split() if language == "zh" else "red blue green yellow black white purple orange grey pink brown".split()),
               ["[The colour is|It is|I chose the colour] <v>.", "Colour: <v>."],
               ["[颜色是|选了|要]<v>。", "颜色：<v>。"])  # fmt: skip

KINDS: list[tuple[dict[str, str], list[Field]]] = [
    ({"en": "[Hello!|Hi there.|Good morning.|]", "zh": "[您好！|你好。|]"},
     [NAME, CITY, EMAIL, PHONE, AGE, JOB, COMPANY, PET]),
    ({"en": "[New order.|Hi, a question about my order.|]", "zh": "[新订单。|您好，我想问一下订单。|]"},
     [NAME, ORDER, PRODUCT, QUANTITY, PRICE, CITY, DATE, COLOR]),
    ({"en": "[You are invited!|Meeting notice.|Event details.|]", "zh": "[诚邀参加！|会议通知。|活动信息。|]"},
     [DATE, TIME, CITY, ROOM, NAME, PHONE]),
    ({"en": "[Invoice received.|Please pay this invoice.|]", "zh": "[收到发票。|请支付发票。|]"},
     [COMPANY, PRICE, DATE, ORDER, EMAIL]),
    ({"en": "[Support ticket.|A new request came in.|]", "zh": "[客服工单。|收到新的请求。|]"},
     [NAME, EMAIL, PHONE, ORDER, PRODUCT, DATE]),
]  # fmt: skip

# Whole sentences with several fields at once, because people do not write one field a sentence.
_BLENDS: dict[str, list[tuple[str, list[Field]]]] = {
    "en": [
        ("<0> from <1> ordered <2> pieces of <3> for <4> dollars.", [NAME, CITY, QUANTITY, PRODUCT, PRICE]),
        ("<0>, <1> years old, lives in <2> and works as a <3>.", [NAME, AGE, CITY, JOB]),
        ("<0> ([email|reachable at]: <1>) works for <2>.", [NAME, EMAIL, COMPANY]),
        ("On <0> at <1>, <2> will speak in <3>.", [DATE, TIME, NAME, CITY]),
        ("<0> bought a <1> <2> on <3> and paid <4> euros.", [NAME, COLOR, PRODUCT, DATE, PRICE]),
        ("Please ship order <0> to <1> in <2>, phone <3>.", [ORDER, NAME, CITY, PHONE]),
        ("<0> is a <1> from <2> who is <3> years old and has a <4>.", [NAME, JOB, CITY, AGE, PET]),
    ],
    "zh": [
        ("<1>的<0>订了<2>件<3>，一共<4>元。", [NAME, CITY, QUANTITY, PRODUCT, PRICE]),
        ("<0>今年<1>岁，住在<2>，是一名<3>。", [NAME, AGE, CITY, JOB]),
        ("<0>在<2>工作，邮箱是<1>。", [NAME, EMAIL, COMPANY]),
        ("<0> <1>，<2>将在<3>演讲。", [DATE, TIME, NAME, CITY]),
        ("<0>在<3>买了<1>的<2>，花了<4>元。", [NAME, COLOR, PRODUCT, DATE, PRICE]),
        ("请把订单<0>寄给<2>的<1>，电话<3>。", [ORDER, NAME, CITY, PHONE]),
        ("<0>是<2>的<1>，今年<3>岁，养了一只<4>。", [NAME, JOB, CITY, AGE, PET]),
    ],
}  # fmt: skip

_REQUESTS = {
    "en": [
        "[Extract|Pull out|Get|Find|Give me|Return|Please extract|Read out] [the fields |]<f> [from the text |from this text |from this |]as JSON[.|:]",
        "[Which|What are the] <f>? [Answer|Reply|Respond] [in|as|with] JSON[ only|].",
        "[Turn this|Convert the text|Put this] into JSON with [the keys|the fields|keys] <f>[.|:]",
        "JSON with <f>[ please|]:",
    ],
    "zh": [
        "[从文本中|从下面的文字中|]提取<f>，[用|以]JSON[格式|][输出|返回|回答][。|：]",
        "[请找出|请给出|请读出|抽取]<f>，[返回|输出]JSON[。|：]",
        "把[这段话|文字|下面内容]转成JSON，[字段|键]为<f>[。|：]",
        "<f>[分别|]是什么？用JSON回答。",
    ],
}


def paragraph(draw: Draw, language: str) -> tuple[str, list[Field], list[Value]]:
    """A paragraph, the fields it states, and their values."""
    if draw.chance(0.4):
        pattern, fields = draw.pick(_BLENDS[language])
        found = [field.make(draw, language) for field in fields]
        text = draw.text(pattern, **{str(index): value for index, value in enumerate(found)})
        if draw.chance(0.35):
            extra = draw.pick([f for f in (EMAIL, PHONE, TIME, ROOM) if f not in fields])
            fields, found = [*fields, extra], [*found, extra.make(draw, language)]
            text += (" " if language == "en" else "") + draw.one(
                extra.sentences[language], v=found[-1]
            )
        return text, fields, found
    opening, candidates = draw.pick(KINDS)
    fields = draw.sample(candidates, draw.number(2, min(5, len(candidates))))
    found = [field.make(draw, language) for field in fields]
    sentences = [
        draw.one(field.sentences[language], v=value)
        for field, value in zip(fields, found, strict=True)
    ]
    start = draw.text(opening[language])
    return (
        (" " if language == "en" else "").join([start, *sentences] if start else sentences),
        fields,
        found,
    )


def exchange(draw: Draw, language: str) -> Exchange:
    """One paragraph with a request for some of its fields."""
    text, fields, found = paragraph(draw, language)
    count = draw.number(1, min(4, len(fields)))
    chosen = draw.sample(range(len(fields)), count)
    names: list[str] = []
    wanted: dict[str, Value | None] = {}
    for index in chosen:
        name = draw.name(fields[index].names[language])
        names.append(name)
        wanted[name] = found[index]
    if not draw.usual() and draw.chance(0.3):
        absent = [f for f in (NAME, CITY, EMAIL, PHONE, ORDER, DATE, COMPANY) if f not in fields]
        if absent:
            names.append(draw.name(draw.pick(absent).names[language]))
            wanted[names[-1]] = None
    if language == "en":
        listed = (
            ", ".join(names)
            if len(names) < 3 or draw.chance(0.5)
            else ", ".join(names[:-1]) + " and " + names[-1]
        )
        if len(names) == 2 and draw.chance(0.6):
            listed = " and ".join(names)
    else:
        listed = draw.pick(["、", "，", "和"]).join(names) if len(names) == 2 else "、".join(names)
    request = draw.one(_REQUESTS[language], f=listed)
    join = draw.pick(["\n", "\n\n", " "] if language == "en" else ["\n", "\n\n", ""])
    user = (
        request + join + text if request[-1] in ":：" or draw.chance(0.6) else text + join + request
    )
    answer = json.dumps(wanted, ensure_ascii=False)
    pairs = ", ".join(
        f"{name} → {'—' if value is None else value}" for name, value in wanted.items()
    )
    thought = f"Fields: {pairs}" if language == "en" else f"字段：{pairs}"
    return Exchange(skill="extraction", user=user, answer=answer, thought=thought, key=user,
                    check={"json": wanted})  # fmt: skip
