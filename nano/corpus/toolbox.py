"""The tools a conversation may declare: their schemas, what people ask, what comes back.

Knows families of tools with variants of names, parameters and descriptions. Knows nothing of how
several tools are put into one conversation.
"""

# fmt: off
# Rows of sentences stay rows.
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nano.corpus import values
from nano.corpus.draw import Draw

Result = tuple[dict[str, Any], str, list[str]]
"""What the tool returns, the answer a user then reads, and what that answer must contain."""


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter; `make` gives the argument and how a user says it in the request."""

    names: list[str]
    kind: str
    make: Callable[[Draw, str], tuple[Any, str]]
    about: dict[str, str]
    options: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Family:
    """Tools that do the same thing under different names."""

    names: list[str]
    about: dict[str, list[str]]
    params: list[Param]
    requests: dict[str, list[str]]
    respond: Callable[[Draw, str, list[Any]], Result]
    pair: dict[str, str] | None = None


def _said(maker: Callable[[Draw, str], Any]) -> Callable[[Draw, str], tuple[Any, str]]:
    def make(draw: Draw, language: str) -> tuple[Any, str]:
        value = maker(draw, language)
        return value, str(value)

    return make


def _choice(spoken: dict[str, dict[str, str]]) -> Callable[[Draw, str], tuple[Any, str]]:
    def make(draw: Draw, language: str) -> tuple[Any, str]:
        value = draw.pick(list(spoken))
        return value, draw.text(spoken[value][language])

    return make


def _flag(yes: dict[str, str], no: dict[str, str]) -> Callable[[Draw, str], tuple[Any, str]]:
    def make(draw: Draw, language: str) -> tuple[Any, str]:
        value = draw.chance(0.5)
        return value, draw.text((yes if value else no)[language])

    return make


def _decimal(draw: Draw, _language: str) -> float:
    return draw.number(11, 299) / 10 if draw.chance(0.4) else draw.number(1, 900)


def _string(names: str, en: str, zh: str, maker: Callable[[Draw, str], Any]) -> Param:
    return Param(names.split(), "string", _said(maker), {"en": en, "zh": zh})


def _whole(names: str, en: str, zh: str, *bounds: int) -> Param:
    low, high = bounds
    return Param(names.split(), "integer", _said(lambda d, _: d.number(low, high)), {"en": en, "zh": zh})


CITY = _string("city location place", "Name of the city", "城市名称", values.city)
ROOM = _string("room area", "Which room", "哪个房间", lambda d, language: d.pick("客厅 卧室 厨房 浴室 书房 走廊 车库 阳台".split() if language == "zh" else "kitchen bedroom bathroom office hallway garage balcony basement".split()))
ORDER = _string("order_id order_number id", "Number of the order", "订单编号", lambda d, _: values.code(d))
PRODUCT = _string("product item product_name", "The product", "商品名称", values.product)
PERSON = _string("name person contact", "Name of the person", "人名", values.person)
CLOCK = _string("time at", "Time of day", "时间", lambda d, _: values.clock(d))
DATE = _string("date day", "The date", "日期", values.date)

_SKY = {
    "en": "sun rain snow clouds fog wind thunder hail".split(),
    "zh": "晴 小雨 大雨 雪 多云 雾 大风 雷阵雨".split(),
}
_STATES = {
    "en": "shipped packed delayed delivered waiting lost returned".split(),
    "zh": "已发货 已打包 延误 已送达 等待中 丢失 已退回".split(),
}
_TASKS = {
    "en": ["[call|visit|write to] [mum|the dentist|the bank|Anna|the office|my boss|<n>]", "[buy|order|return|clean|repair] [a|the] <p>", "water the [plants|garden|flowers]", "pay the [rent|bill|invoice]", "[feed|walk] the [cat|dog]"],
    "zh": ["给[妈妈|牙医|银行|办公室|老板|<n>]打电话", "[买|订|退|修]<p>", "浇[花|水]", "交[房租|电费|水费]", "[喂猫|遛狗|取快递|拿药]"],
}


def _task(draw: Draw, language: str) -> str:
    return draw.one(_TASKS[language], n=values.given_name(draw, language), p=values.product(draw, language))


def _say(language: str, en: str, zh: str) -> str:
    return en if language == "en" else zh


def _weather(draw: Draw, language: str, args: list[Any]) -> Result:
    degrees, sky = draw.number(-15, 38), draw.pick(_SKY[language])
    unit = "°F" if "fahrenheit" in args else "°C"
    text = _say(language, f"It is {degrees} {unit} in {args[0]}, with {sky}.", f"{args[0]}现在{degrees}{unit}，{sky}。")
    name = draw.pick(["temperature", "temp", "degrees"])
    return {name: degrees, draw.pick(["condition", "sky"]): sky}, text, [str(degrees), sky]


def _time(draw: Draw, language: str, args: list[Any]) -> Result:
    now = values.clock(draw)
    where = f" in {args[0]}" if args else ""
    text = _say(language, f"It is {now}{where} now.", f"{args[0] if args else ''}现在是{now}。")
    return {draw.pick(["time", "now", "local_time"]): now}, text, [now]


def _email(draw: Draw, language: str, args: list[Any]) -> Result:
    number = f"m{draw.number(100, 9999)}"
    text = _say(language, f"The message to {args[0]} was sent with number {number}.", f"给{args[0]}的邮件已发送，编号{number}。")
    return {"status": "sent", draw.pick(["id", "message_id"]): number}, text, [args[0], number]


def _reminder(draw: Draw, language: str, args: list[Any]) -> Result:
    number = draw.number(10, 999)
    text = _say(language, f'Reminder {number} is set: "{args[0]}" at {args[1]}.', f"提醒{number}已设置：{args[1]}{args[0]}。")
    return {"status": "ok", draw.pick(["id", "reminder_id"]): number}, text, [str(number)]


def _currency(draw: Draw, language: str, args: list[Any]) -> Result:
    total = draw.number(10, 99999) / 100
    text = _say(language, f"{args[0]} {args[1]} is {total} {args[2]}.", f"{args[0]} {args[1]}等于{total} {args[2]}。")
    return {draw.pick(["result", "amount", "converted"]): total}, text, [str(total)]


def _search(draw: Draw, language: str, args: list[Any]) -> Result:
    count, price = draw.number(1, 40), draw.number(5, 500)
    text = _say(language, f"I found {count} results for {args[0]}, the cheapest costs {price}.", f"找到{count}个{args[0]}，最低价{price}元。")
    return {draw.pick(["count", "found"]): count, draw.pick(["lowest_price", "cheapest"]): price}, text, [str(count), str(price)]


def _track(draw: Draw, language: str, args: list[Any]) -> Result:
    state, when = draw.pick(_STATES[language]), values.date(draw, language)
    text = _say(language, f"Order {args[0]} is {state}, expected on {when}.", f"订单{args[0]}{state}，预计{when}。")
    return {"status": state, draw.pick(["expected", "date", "eta"]): when}, text, [state, when]


def _table(draw: Draw, language: str, args: list[Any]) -> Result:
    ref = values.code(draw)
    text = _say(language, f"A table for {args[0]} at {args[1]} is booked, reference {ref}.", f"已预订{args[1]}的{args[0]}人桌，预订号{ref}。")
    return {"confirmed": True, draw.pick(["reference", "booking_id"]): ref}, text, [ref]


def _music(draw: Draw, language: str, args: list[Any]) -> Result:
    minutes = draw.number(2, 9)
    text = _say(language, f"Now playing {args[0]}, {minutes} minutes long.", f"正在播放{args[0]}，时长{minutes}分钟。")
    return {"status": "playing", "minutes": minutes}, text, [args[0], str(minutes)]


def _light(draw: Draw, language: str, args: list[Any]) -> Result:
    watts = draw.number(0, 90)
    text = _say(language, f"The light in the {args[0]} is {'on' if args[1] else 'off'} and uses {watts} watts.", f"{args[0]}的灯已{'打开' if args[1] else '关闭'}，功率{watts}瓦。")
    return {"ok": True, draw.pick(["watts", "power"]): watts}, text, [args[0], str(watts)]


def _heat(draw: Draw, language: str, args: list[Any]) -> Result:
    now = draw.number(5, 30)
    text = _say(language, f"The {args[0]} is set to {args[1]} degrees; now it is {now}.", f"{args[0]}已设为{args[1]}度，现在{now}度。")
    return {"status": "ok", draw.pick(["current", "now"]): now}, text, [str(args[1]), str(now)]


def _translation(draw: Draw, language: str, _args: list[Any]) -> Result:
    word = values.invented_word(draw) + " " + values.invented_word(draw)
    text = _say(language, f'The translation is "{word}".', f"译文是“{word}”。")
    return {draw.pick(["translation", "text"]): word}, text, [word]


def _user(draw: Draw, language: str, args: list[Any]) -> Result:
    mail, age = values.email(draw), draw.number(18, 80)
    text = _say(language, f"{args[0]} is {age} years old and can be reached at {mail}.", f"{args[0]}{age}岁，邮箱是{mail}。")
    return {"email": mail, "age": age}, text, [mail, str(age)]


def _event(draw: Draw, language: str, args: list[Any]) -> Result:
    ref = values.code(draw)
    text = _say(language, f"The event on {args[1]} at {args[2]} is in the calendar, number {ref}.", f"{args[1]} {args[2]}的日程已添加，编号{ref}。")
    return {"created": True, draw.pick(["id", "event_id"]): ref}, text, [ref]


def _stock(draw: Draw, language: str, args: list[Any]) -> Result:
    price = draw.number(100, 99999) / 100
    text = _say(language, f"{args[0]} is at {price} now.", f"{args[0]}现价{price}。")
    return {draw.pick(["price", "quote"]): price}, text, [str(price)]


def _orders(draw: Draw, language: str, _args: list[Any]) -> Result:
    numbers = [values.code(draw) for _ in range(draw.number(1, 3))]
    listed = ", ".join(numbers) if language == "en" else "、".join(numbers)
    return {"orders": numbers}, _say(language, f"Your orders: {listed}.", f"您的订单：{listed}。"), numbers


def _status(draw: Draw, language: str, _args: list[Any]) -> Result:
    hours, load = draw.number(1, 900), draw.number(1, 99)
    text = _say(language, f"The server has been up for {hours} hours at {load} % load.", f"服务器已运行{hours}小时，负载{load}%。")
    return {draw.pick(["uptime_hours", "hours"]): hours, "load": load}, text, [str(hours), str(load)]


def _timer(draw: Draw, language: str, args: list[Any]) -> Result:
    end = values.clock(draw)
    text = _say(language, f"The timer runs for {args[0]} minutes, until {end}.", f"计时器{args[0]}分钟，到{end}结束。")
    return {draw.pick(["ends_at", "until"]): end}, text, [str(args[0]), end]


def _cancelled(draw: Draw, language: str, args: list[Any]) -> Result:
    fee = draw.number(0, 50)
    text = _say(language, f"Order {args[0]} is cancelled, the fee is {fee}.", f"订单{args[0]}已取消，手续费{fee}元。")
    return {"cancelled": True, "fee": fee}, text, [args[0], str(fee)]


def _cart(draw: Draw, language: str, args: list[Any]) -> Result:
    total = draw.number(5, 5000)
    text = _say(language, f"{args[1]} × {args[0]} added, the cart is now {total}.", f"已加入{args[1]}件{args[0]}，购物车共{total}元。")
    return {"ok": True, draw.pick(["total", "cart_total"]): total}, text, [args[0], str(total)]


def _distance(draw: Draw, language: str, args: list[Any]) -> Result:
    far = draw.number(5, 9000)
    text = _say(language, f"It is {far} km from {args[0]} to {args[1]}.", f"从{args[0]}到{args[1]}有{far}公里。")
    return {draw.pick(["km", "distance_km", "distance"]): far}, text, [str(far)]


def _call(draw: Draw, language: str, args: list[Any]) -> Result:
    number = values.phone(draw)
    return {"status": "calling", "number": number}, _say(language, f"Calling {args[0]} at {number}.", f"正在呼叫{args[0]}，号码{number}。"), [number]


def _sum(draw: Draw, language: str, _args: list[Any]) -> Result:
    value = draw.number(1, 99999)
    return {draw.pick(["result", "value"]): value}, _say(language, f"The result is {value}.", f"结果是{value}。"), [str(value)]


def _limit(draw: Draw, language: str) -> tuple[Any, str]:
    value = draw.number(5, 900)
    english, chinese = f" [under|below|for at most] {value}", f"，[不超过|最多]{value}元"
    return value, draw.text(english if language == "en" else chinese)


_CURRENCIES = "USD EUR NOK CNY JPY GBP SEK CHF".split()
_MONEY = _choice({c: {"en": c, "zh": c} for c in _CURRENCIES})
_LANGUAGES = {"french": {"en": "French", "zh": "法语"}, "german": {"en": "German", "zh": "德语"}, "spanish": {"en": "Spanish", "zh": "西班牙语"}, "japanese": {"en": "Japanese", "zh": "日语"}, "norwegian": {"en": "Norwegian", "zh": "挪威语"}}
_UNIT = Param(["unit", "units"], "string", _choice({"celsius": {"en": " in [Celsius|celsius]", "zh": "，用摄氏度"}, "fahrenheit": {"en": " in [Fahrenheit|fahrenheit]", "zh": "，用华氏度"}}), {"en": "Unit of temperature", "zh": "温度单位"}, ("celsius", "fahrenheit"), optional=True)
_DAY = Param(["day", "when"], "string", _choice({"today": {"en": " today", "zh": "今天"}, "tomorrow": {"en": " tomorrow", "zh": "明天"}}), {"en": "Which day", "zh": "哪一天"}, ("today", "tomorrow"), optional=True)

FAMILIES: list[Family] = [
    Family(["get_weather", "weather", "query_weather", "weather_lookup", "get_current_weather"], {"en": ["Get the weather for a city", "Current weather in a place", "Look up the weather"], "zh": ["查询城市天气", "获取某地的天气", "天气查询"]}, [CITY, _DAY, _UNIT],
           {"en": ["[What is|What's|How is|Tell me|Check] the weather [like |]in <0><1><2>?", "[Is it cold|Is it raining|How warm is it|Do I need an umbrella] in <0><1><2>?", "[Weather|Forecast] [in|for] <0><1><2>[ please|]"],
            "zh": ["<0><1>[天气怎么样|天气如何|会下雨吗|冷不冷|多少度]<2>？", "[查一下|帮我查|看看]<0><1>的天气<2>。"]}, _weather,
           {"en": "[What is|Tell me|Compare] the weather in <0> and <1>[?|.]", "zh": "[查一下|看看]<0>和<1>的天气。"}),
    Family(["get_time", "time_in_city", "local_time", "world_clock"], {"en": ["Local time in a city", "Get the time in a place"], "zh": ["查询城市当地时间", "世界时钟"]}, [CITY],
           {"en": ["[What time is it|What is the time|Tell me the time] in <0>[ now|]?", "[Local|Current] time in <0>[?| please]"], "zh": ["<0>现在几点[了|]？", "[查一下|告诉我]<0>的[当地|]时间。"]}, _time),
    Family(["send_email", "email", "send_mail", "mail_send"], {"en": ["Send an email", "Send a message by email"], "zh": ["发送电子邮件", "发邮件"]}, [_string("to recipient address", "Address of the recipient", "收件人地址", lambda d, _: values.email(d)), _string("subject title", "Subject line", "邮件主题", _task)],
           {"en": ['[Send|Write] an email to <0> [with the subject|titled|about] "<1>"[ please|.|]', "[Email|Mail] <0> with the subject <1>"], "zh": ["[给|向]<0>发[一封|]邮件，[主题|标题]是“<1>”。", "发邮件到<0>，主题：<1>"]}, _email),
    Family(["set_reminder", "create_reminder", "remind_me", "add_reminder"], {"en": ["Set a reminder", "Create a reminder at a time"], "zh": ["设置提醒", "创建提醒"]}, [_string("text message task", "What to remember", "提醒内容", _task), CLOCK],
           {"en": ["Remind me to <0> at <1>[.|]", "[Set|Create|Add] a reminder at <1>: <0>", "At <1> I [have to|must|need to] <0>, remind me[.| please]"], "zh": ["[提醒我|记得叫我]<1><0>。", "<1>提醒我<0>[。|]", "[设置|添加][一个|]提醒：<1>，<0>"]}, _reminder),
    Family(["convert_currency", "currency", "exchange", "convert_money"], {"en": ["Convert an amount of money", "Exchange between currencies"], "zh": ["货币换算", "换算汇率"]}, [Param(["amount", "value"], "number", _said(_decimal), {"en": "Amount of money", "zh": "金额"}), Param(["from_currency", "source", "from"], "string", _MONEY, {"en": "Currency to convert from", "zh": "原货币"}, tuple(_CURRENCIES)), Param(["to_currency", "target", "to"], "string", _MONEY, {"en": "Currency to convert to", "zh": "目标货币"}, tuple(_CURRENCIES))],
           {"en": ["[Convert|Change|Exchange] <0> <1> [to|into] <2>[.| please|]", "How [much is|many <2> are] <0> <1>[ in <2>]?", "<0> <1> in <2>[?|]"], "zh": ["[把|将]<0> <1>[换成|兑换成|换算成]<2>。", "<0> <1>等于多少<2>？"]}, _currency),
    Family(["search_products", "product_search", "find_products", "search_shop"], {"en": ["Search the shop", "Find products by name"], "zh": ["搜索商品", "查找产品"]}, [_string("query keyword q", "What to search for", "搜索词", values.product), Param(["max_price", "price_limit"], "integer", _limit, {"en": "Highest price", "zh": "最高价格"}, optional=True)],
           {"en": ["[Search|Look] for a <0><1>[ please|.|]", "[Find|Show] me a <0><1>[.|]", "I am looking for a <0><1>."], "zh": ["[搜索|找一下|我想找|查找]<0><1>。", "有没有<0><1>？"]}, _search),
    Family(["track_order", "order_status", "get_order", "track_package"], {"en": ["Status of an order", "Track an order"], "zh": ["查询订单状态", "跟踪订单"]}, [ORDER],
           {"en": ["[Where is|Track|What is the status of|Check] [my |]order <0>[?|]", "[Has|When will] order <0> [arrived|arrive|been shipped]?"], "zh": ["[查一下|帮我查|跟踪]订单<0>[。|]", "订单<0>[到哪了|发货了吗|什么状态]？"]}, _track,
           {"en": "[Where are|Track] orders <0> and <1>[?|.]", "zh": "[查一下|跟踪]订单<0>和<1>。"}),
    Family(["book_table", "reserve_table", "restaurant_booking"], {"en": ["Book a table at the restaurant", "Reserve a table"], "zh": ["预订餐桌", "餐厅订位"]}, [_whole("people guests party_size", "How many people", "人数", 1, 20), CLOCK, Param(["outside", "terrace"], "boolean", _flag({"en": " [outside|on the terrace]", "zh": "，[要户外|坐外面]"}, {"en": " inside", "zh": "，[要室内|坐里面]"}), {"en": "Sit outside or not", "zh": "是否坐户外"}, optional=True)],
           {"en": ["[Book|Reserve] a table for <0> [people |]at <1><2>[.| please|]", "[We are|Table for] <0>, at <1><2>[, please book|]."], "zh": ["[订|预订|帮我订]<1>的<0>人桌<2>。", "我们<0>个人，<1>用餐<2>，[请订位|帮忙订桌]。"]}, _table),
    Family(["play_music", "play", "music_player", "play_artist"], {"en": ["Play music", "Play songs of an artist"], "zh": ["播放音乐", "播放歌手的歌"]}, [_string("artist singer", "Name of the artist", "歌手", values.person)],
           {"en": ["[Play|Put on|I want to hear] [music|songs|something] by <0>[.|]", "Play <0>[ please|.|]"], "zh": ["[播放|我想听|放]<0>的[歌|音乐|歌曲]。"]}, _music),
    Family(["set_light", "light", "switch_light", "control_light"], {"en": ["Switch a light on or off", "Control the light in a room"], "zh": ["开关灯", "控制房间的灯"]}, [ROOM, Param(["on", "enabled", "state"], "boolean", _flag({"en": "on", "zh": "打开"}, {"en": "off", "zh": "关掉"}), {"en": "On or off", "zh": "是否打开"})],
           {"en": ["[Turn|Switch] <1> the [light|lights|lamp] in the <0>[.| please|]", "[Lights|Light] <1> in the <0>[.|]", "[Turn|Switch] the <0> [light|lights] <1>[.|]"], "zh": ["[请|帮我|]<1><0>的灯[。|]", "[请|]把<0>的灯<1>。"]}, _light),
    Family(["set_temperature", "thermostat", "heating", "set_heating"], {"en": ["Set the heating of a room", "Set the temperature in a room"], "zh": ["设置室温", "调节房间温度"]}, [ROOM, Param(["degrees", "temperature", "target"], "number", _said(lambda d, _: d.number(30, 58) / 2 if d.chance(0.3) else d.number(12, 29)), {"en": "Degrees Celsius", "zh": "摄氏度"})],
           {"en": ["[Set|Heat|Bring] the <0> to <1> degrees[.| please|]", "[Make it|I want] <1> degrees in the <0>[.|]"], "zh": ["[把|将]<0>[温度|]调到<1>度[。|]", "<0>[设为|调成]<1>度。"]}, _heat),
    Family(["translate", "translate_text", "translator"], {"en": ["Translate a text", "Translate into another language"], "zh": ["翻译文本", "翻译成其他语言"]}, [_string("text sentence content", "The text", "要翻译的文本", _task), Param(["language", "target_language", "lang"], "string", _choice(_LANGUAGES), {"en": "Target language", "zh": "目标语言"}, tuple(_LANGUAGES))],
           {"en": ['Translate "<0>" [to|into] <1>[.|]', '[How do you say|What is] "<0>" in <1>?'], "zh": ["[把|将]“<0>”翻译成<1>。", "“<0>”用<1>怎么说？"]}, _translation),
    Family(["find_user", "get_user", "user_lookup", "search_contact"], {"en": ["Find a user by name", "Look up a contact"], "zh": ["查找用户", "按姓名查询联系人"]}, [PERSON],
           {"en": ["[Find|Look up|Show me|Get] the [user|contact|person] <0>[.|]", "[What is the email of|How can I reach|What do we know about] <0>?"], "zh": ["[查找|查一下|找出][用户|联系人]<0>。", "<0>的[邮箱|联系方式]是什么？"]}, _user),
    Family(["create_event", "add_event", "schedule_meeting", "calendar_add"], {"en": ["Add an event to the calendar", "Schedule a meeting"], "zh": ["添加日程", "安排会议"]}, [_string("with_person guest attendee", "Who takes part", "参加者", values.person), DATE, CLOCK],
           {"en": ["[Schedule|Plan|Set up|Add] a meeting with <0> on <1> at <2>[.|]", "[Meet|Meeting with|I meet] <0> on <1> at <2>, put it in the calendar[.|]"], "zh": ["[安排|添加]<1> <2>和<0>[的会议|见面]。", "<1> <2>和<0>开会，[加到日历|请安排]。"]}, _event),
    Family(["get_stock_price", "stock_price", "quote"], {"en": ["Price of a stock", "Get a stock quote"], "zh": ["查询股价", "获取股票价格"]}, [_string("symbol ticker", "Symbol of the stock", "股票代码", lambda d, _: "".join(d.pick("ABCDEFGHIJKLMNOPRSTUVWXYZ") for _ in range(d.number(3, 4))))],
           {"en": ["[What is|Check|Get] the [price|stock price|quote] of <0>[?|]", "How is <0> [trading|doing][ today|]?"], "zh": ["<0>[股价多少|现在多少钱|的股价]？", "[查一下|看看]<0>的股价。"]}, _stock),
    Family(["list_orders", "my_orders", "get_orders"], {"en": ["List all orders of the user", "Show my orders"], "zh": ["列出所有订单", "查看我的订单"]}, [],
           {"en": ["[List|Show|Give] me [all |]my orders[ please|.|]", "[What|Which] [orders do I have|did I order][ so far| this month|]?", "[Which|What are] my orders?"], "zh": ["[列出|查看|显示]我[所有的|全部|的]订单。", "我有[哪些|什么]订单？", "我[都|]订了什么？"]}, _orders),
    Family(["server_status", "get_status", "system_status", "health_check"], {"en": ["Status of the server", "Is the server healthy"], "zh": ["服务器状态", "检查系统状态"]}, [],
           {"en": ["[How is|Is] the [server|system] [doing|running|healthy|all right][ today| now|]?", "[Check|Show|Get] the [server|system] status[.| please|]"], "zh": ["[服务器|系统][状态怎么样|正常吗|还好吗|运行如何]？", "[检查|查看|看一下][服务器|系统]状态[。|]"]}, _status),
    Family(["get_current_time", "now", "current_time", "clock"], {"en": ["The current time", "What time it is now"], "zh": ["当前时间", "现在的时间"]}, [],
           {"en": ["[What time is it|What's the time|Do you know the time|Tell me the time][ now| please|][?|]", "[What does the clock say|How late is it][ now|]?"], "zh": ["[现在|请问|现在是]几点[了|钟|]？", "[告诉我|看看][现在的|当前]时间[。|]"]}, _time),
    Family(["set_timer", "timer", "start_timer", "countdown"], {"en": ["Start a timer", "Count down some minutes"], "zh": ["设置计时器", "开始倒计时"]}, [_whole("minutes duration_minutes length", "How many minutes", "分钟数", 1, 120)],
           {"en": ["[Set|Start] a timer for <0> minutes[.| please|]", "[Timer|Countdown]: <0> minutes", "Wake me in <0> minutes[.|]"], "zh": ["[设置|定|开始]<0>分钟[的|]计时[器|]。", "<0>分钟后叫我。", "倒计时<0>分钟[。|]"]}, _timer),
    Family(["cancel_order", "order_cancel", "stop_order"], {"en": ["Cancel an order", "Stop an order"], "zh": ["取消订单", "撤销订单"]}, [ORDER, Param(["refund", "money_back"], "boolean", _flag({"en": " [with a refund|and give the money back]", "zh": "并退款"}, {"en": " without a refund", "zh": "，不用退款"}), {"en": "Pay the money back", "zh": "是否退款"})],
           {"en": ["[Cancel|Stop|Please cancel] order <0><1>[.|]", "I want to cancel order <0><1>[.|]"], "zh": ["[取消|请取消|帮我取消]订单<0><1>。"]}, _cancelled),
    Family(["add_to_cart", "cart_add", "buy"], {"en": ["Put a product into the cart", "Add items to the cart"], "zh": ["加入购物车", "添加商品到购物车"]}, [PRODUCT, _whole("quantity count number", "How many", "数量", 1, 40)],
           {"en": ["[Add|Put] <1> <0> [to|into] [my|the] cart[.|]", "I [want|would like] to buy <1> <0>[.|]", "<1> <0> for my cart[ please|.|]"], "zh": ["[把|将]<1>件<0>[加入|放进]购物车。", "我[要|想]买<1>件<0>。"]}, _cart),
    Family(["get_distance", "distance", "route"], {"en": ["Distance between two cities", "How far two places are apart"], "zh": ["两地距离", "查询两个城市的距离"]}, [_string("start origin from_city", "Where it starts", "起点", values.city), _string("end destination to_city", "Where it ends", "终点", values.city)],
           {"en": ["How far is it from <0> to <1>?", "[What is|Tell me] the distance [from <0> to|between <0> and] <1>[?|]"], "zh": ["从<0>到<1>[有多远|多少公里]？", "<0>[到|和]<1>的距离[是多少|]？"]}, _distance),
    Family(["call_contact", "phone_call", "dial", "make_call"], {"en": ["Call a person", "Start a phone call"], "zh": ["拨打电话", "给联系人打电话"]}, [PERSON],
           {"en": ["[Call|Phone|Ring|Dial] <0>[.| please|]", "I [want|need|would like] to [talk to|speak with] <0>[.|]"], "zh": ["[给|帮我给]<0>打[个|]电话。", "[呼叫|拨打]<0>[的电话|]。"]}, _call),
    Family(["calculate", "calculator", "compute"], {"en": ["Calculate with two numbers", "A calculator"], "zh": ["计算器", "两个数的计算"]}, [_whole("a first x", "First number", "第一个数", 1, 9999), Param(["operation", "op"], "string", _choice({"add": {"en": "plus", "zh": "加"}, "subtract": {"en": "minus", "zh": "减"}, "multiply": {"en": "times", "zh": "乘以"}, "divide": {"en": "divided by", "zh": "除以"}}), {"en": "What to do", "zh": "运算"}, ("add", "subtract", "multiply", "divide")), _whole("b second y", "Second number", "第二个数", 1, 9999)],
           {"en": ["[Calculate|Compute|What is|Work out] <0> <1> <2>[?|.|]"], "zh": ["[计算|算一下|请问]<0><1><2>[。|等于多少？]"]}, _sum),
]
