"""Pools of values: names, places, things, and generators for codes, dates and addresses.

Knows word lists and how to build strings nobody has seen before, so that a model must copy instead
of remember. Knows nothing of the sentences they appear in.
"""

from __future__ import annotations

from nano.corpus.draw import Draw

_GIVEN = """Anna Ben Clara David Emma Felix Grace Henry Ida Jonas Karin Liam Maria Noah Olivia Peter
Quinn Rosa Samuel Tara Ulrik Vera William Xenia Yara Zoe Alice Bruno Carmen Daniel Elena Frank
Gloria Hugo Irene Jack Kira Lucas Mona Nils Oscar Paula Rita Simon Tina Umar Viktor Wendy Yusuf
Astrid Bjorn Cecilie Dag Eirik Frida Gunnar Hanna Ingrid Jens Kari Lars Magnus Nora Ole Per Ragnhild
Sigrid Tor Unni Vidar Aisha Carlos Diego Fatima Hiro Ivan Jamal Kenji Leila Marco Nadia Omar Priya
Ravi Sofia Tomas Yuki Amir Bianca Chloe Dmitri Esther Farid Gita Hassan Imani Jorge Keiko Luisa
Mateo Ngozi Otto Pablo Rachel Stefan Thea Uma Vikram Zara Adam Beth Colin Diana Ethan Fiona George
Helen Isaac Julia Kevin Laura Martin Nina Owen Philip Ruth Sarah Thomas Victoria Walter Amelia""".split()

_SURNAMES = """Berg Hansen Olsen Larsen Dahl Lund Moen Strand Solberg Nygaard Smith Jones Brown Taylor
Wilson Evans Clark Walker Hall Green Baker Cooper Ward Turner Parker Collins Reed Bell Murphy Price
Garcia Lopez Torres Rivera Santos Silva Costa Rossi Romano Conti Keller Weber Fischer Wagner Becker
Novak Horvat Kowalski Petrov Ivanov Popescu Nagy Virtanen Korhonen Lindqvist Ekman Holm Friis Tanaka
Sato Suzuki Kimura Park Choi Nguyen Tran Patel Sharma Khan Singh Mehta Okafor Mensah Abebe Diallo
Haddad Mansour Farah Cohen Levy Stone Hart Frost Field Marsh Brooks Rivers Winter Archer Mason
Porter Fletcher Harper Sawyer Thatcher Weaver Gardner Shepherd Carter Foster Hayes Grant""".split()

_CITIES = """Oslo Bergen Tromso Stockholm Copenhagen Helsinki Reykjavik London Leeds Bristol Dublin Cork
Paris Lyon Nice Berlin Hamburg Munich Cologne Vienna Graz Zurich Geneva Rome Milan Turin Naples
Madrid Seville Valencia Lisbon Porto Athens Warsaw Krakow Prague Brno Budapest Sofia Bucharest Riga
Vilnius Tallinn Istanbul Ankara Cairo Tunis Lagos Accra Nairobi Kampala Durban Lima Quito Bogota
Santiago Havana Toronto Ottawa Montreal Boston Chicago Denver Seattle Portland Austin Dallas Miami
Atlanta Phoenix Tokyo Osaka Kyoto Seoul Busan Taipei Hanoi Bangkok Manila Jakarta Singapore Delhi
Mumbai Chennai Karachi Lahore Dubai Doha Sydney Perth Brisbane Auckland Wellington""".split()

PRODUCTS = """desk lamp|office chair|coffee mug|water bottle|phone case|laptop stand|wool scarf|
running shoes|rain jacket|garden hose|paint brush|tool box|bread knife|tea kettle|wall clock|
reading light|notebook|fountain pen|backpack|travel pillow|yoga mat|bike helmet|toy train|puzzle|
board game|picture frame|bed sheet|bath towel|hair dryer|electric fan|space heater|power bank|
usb cable|keyboard|mouse pad|monitor|speaker|headphones|camera bag|tripod|tent|sleeping bag|
hiking boots|sun hat|ski gloves|swim goggles|tennis racket|football|guitar strings|piano bench|
flower pot|candle|mirror|rug|curtain|shelf|drawer|stool|blanket|cushion|umbrella|wallet|belt|
leather boots|rice cooker|toaster|blender|frying pan|soup bowl|wine glass|cutting board|
baking tray|spice rack|lunch box|ice tray|door mat|tape measure|hand drill|screwdriver set"""
PRODUCTS = [item.strip() for item in PRODUCTS.replace("\n", "").split("|")]

COMPANIES = """Northwind Bluebird Silverline Greenleaf Redstone Brightside Clearwater Oakwood Stonebridge
Sunrise Riverbank Hilltop Moonlight Starfield Ironworks Papertrail Lakeside Snowpeak Windmill
Harbour Lantern Compass Beacon Meadow Orchard Falcon Raven Otter Badger Heron""".split()
_COMPANY_ENDS = ["Ltd", "Group", "Labs", "Foods", "Motors", "Media", "Energy", "Systems", "AS"]

JOBS = """nurse|teacher|baker|pilot|engineer|designer|plumber|lawyer|chef|farmer|journalist|dentist|
carpenter|librarian|accountant|photographer|mechanic|translator|gardener|architect|electrician|
musician|pharmacist|surgeon|tailor|waiter|writer|analyst|barista|cashier"""
JOBS = [item.strip() for item in JOBS.replace("\n", "").split("|")]

MONTHS = """January February March April May June July August September October November
December""".split()
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()

_ZH_SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕"
    "苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史"
)
_ZH_GIVEN = (
    "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰红梅建国文斌宇浩凯健俊帆雪雅"
    "琳洁婷慧莹倩佳欣怡悦彤子轩梓涵雨泽晨曦思远嘉宁博睿铭航一诺天佑诗语梦琪若云海波春"
    "秋冬山松柏竹菊荷莲月星光辉亮清泉溪湖安康乐和顺利福祥瑞庆丰年新志成立德仁义礼智信"
)
ZH_CITIES = (
    "北京 上海 广州 深圳 杭州 南京 苏州 成都 重庆 武汉 西安 天津 青岛 大连 厦门 宁波 长沙 郑州 "
    "济南 合肥 福州 昆明 贵阳 南昌 太原 石家庄 哈尔滨 长春 沈阳 兰州 银川 西宁 乌鲁木齐 拉萨 海口 "
    "三亚 南宁 桂林 珠海 东莞 佛山 无锡 常州 扬州 温州 绍兴 嘉兴 烟台 洛阳 开封 香港 澳门 台北 "
    "东京 首尔 新加坡 伦敦 巴黎 柏林 奥斯陆 纽约 悉尼"
).split()
ZH_PRODUCTS = (
    "台灯 办公椅 咖啡杯 水壶 手机壳 电脑支架 围巾 跑鞋 雨衣 水管 画笔 工具箱 面包刀 茶壶 挂钟 "
    "阅读灯 笔记本 钢笔 背包 旅行枕 瑜伽垫 头盔 玩具车 拼图 棋盘 相框 床单 浴巾 吹风机 电风扇 "
    "取暖器 充电宝 数据线 键盘 鼠标垫 显示器 音箱 耳机 相机包 三脚架 帐篷 睡袋 登山鞋 太阳帽 手套 "
    "泳镜 网球拍 足球 花盆 蜡烛 镜子 地毯 窗帘 书架 抽屉 凳子 毛毯 靠垫 雨伞 钱包 皮带 电饭锅 "
    "烤面包机 搅拌机 平底锅 汤碗 酒杯 砧板 烤盘 饭盒 门垫 卷尺 电钻"
).split()
ZH_JOBS = (
    "护士 教师 面包师 飞行员 工程师 设计师 水管工 律师 厨师 农民 记者 牙医 木匠 图书管理员 会计 "
    "摄影师 修理工 翻译 园丁 建筑师 电工 音乐家 药剂师 医生 裁缝 服务员 作家 分析师 店员 司机"
).split()
ZH_WEEKDAYS = "周一 周二 周三 周四 周五 周六 周日".split()
_ZH_COMPANY_HEADS = "蓝鸟 银线 绿叶 红石 晨光 清水 橡木 石桥 日出 河岸 山顶 月光 星野 铁工 湖畔 雪峰 风车 海港 灯塔 指南 果园 飞鹰 白鹭 金桥 远山 明月 长风 东方 北辰 云帆".split()
_ZH_COMPANY_ENDS = "科技 集团 实业 食品 传媒 能源 贸易 物流 软件 电子".split()

_ONSETS = "b d f g h j k l m n p r s t v w z br dr gr kl st tr sh th".split()
_VOWELS = "a e i o u ai ea io".split()
_CODAS = ["", "", "n", "r", "s", "l", "m", "th", "nd", "rk"]
_DOMAINS = "mail.example post.example inbox.example work.example shop.example north.example".split()


def invented_word(draw: Draw) -> str:
    """A pronounceable word that is in no list."""
    pieces = [draw.pick(_ONSETS) + draw.pick(_VOWELS) for _ in range(draw.number(1, 2))]
    return "".join(pieces) + draw.pick(_ONSETS) + draw.pick(_VOWELS) + draw.pick(_CODAS)


def given_name(draw: Draw, language: str) -> str:
    """A first name in English; in Chinese a full name, which is how people are mentioned."""
    if language == "zh":
        return person(draw, language)
    return invented_word(draw).capitalize() if draw.chance(0.2) else draw.pick(_GIVEN)


def person(draw: Draw, language: str) -> str:
    """A full name."""
    if language == "zh":
        given = "".join(draw.pick(_ZH_GIVEN) for _ in range(1 if draw.chance(0.25) else 2))
        return draw.pick(_ZH_SURNAMES) + given
    surname = invented_word(draw).capitalize() if draw.chance(0.3) else draw.pick(_SURNAMES)
    return f"{given_name(draw, language)} {surname}"


def city(draw: Draw, language: str) -> str:
    """A place."""
    if language == "zh":
        return draw.pick(ZH_CITIES)
    return invented_word(draw).capitalize() if draw.chance(0.15) else draw.pick(_CITIES)


def product(draw: Draw, language: str) -> str:
    """A thing one can order."""
    return draw.pick(ZH_PRODUCTS if language == "zh" else PRODUCTS)


def company(draw: Draw, language: str) -> str:
    """A company name."""
    if language == "zh":
        return draw.pick(_ZH_COMPANY_HEADS) + draw.pick(_ZH_COMPANY_ENDS)
    head = invented_word(draw).capitalize() if draw.chance(0.3) else draw.pick(COMPANIES)
    return f"{head} {draw.pick(_COMPANY_ENDS)}"


def job(draw: Draw, language: str) -> str:
    """An occupation."""
    return draw.pick(ZH_JOBS if language == "zh" else JOBS)


def weekday(draw: Draw, language: str) -> str:
    """A day of the week."""
    return draw.pick(ZH_WEEKDAYS if language == "zh" else WEEKDAYS)


def email(draw: Draw) -> str:
    """An address at a reserved domain."""
    local = draw.pick([draw.pick(_GIVEN).lower(), invented_word(draw)])
    if draw.chance(0.25):
        local += draw.pick([".", "_", ""]) + draw.pick(
            [draw.pick(_SURNAMES).lower(), invented_word(draw)]
        )
    if draw.chance(0.4):
        local += str(draw.number(1, 99))
    return f"{local}@{draw.pick(_DOMAINS)}"


def phone(draw: Draw) -> str:
    """A telephone number."""
    return draw.pick(["", "+47 ", "555-"]) + "".join(
        str(draw.number(0, 9)) for _ in range(draw.number(6, 8))
    )


def code(draw: Draw) -> str:
    """An order or ticket number."""
    letters = "".join(draw.pick("ABCDEFGHKLMNPRSTUVWXYZ") for _ in range(draw.number(1, 3)))
    digits = "".join(str(draw.number(0, 9)) for _ in range(draw.number(3, 6)))
    return draw.pick([f"{letters}-{digits}", f"{letters}{digits}", digits, f"#{digits}"])


def date(draw: Draw, language: str) -> str:
    """A date in one of the usual spellings."""
    year, month, day = draw.number(2019, 2030), draw.number(1, 12), draw.number(1, 28)
    if draw.chance(0.5):
        return f"{year}-{month:02d}-{day:02d}"
    if language == "zh":
        return f"{year}年{month}月{day}日" if draw.chance(0.5) else f"{month}月{day}日"
    return draw.pick([f"{day} {MONTHS[month - 1]} {year}", f"{MONTHS[month - 1]} {day}"])


def clock(draw: Draw) -> str:
    """A time of day."""
    return f"{draw.number(0, 23):02d}:{draw.pick([0, 5, 10, 15, 20, 30, 40, 45, 50]):02d}"
