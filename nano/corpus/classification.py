"""Classifying sentiment and intent.

Knows sets of labels, phrases that belong to each, and ways to ask. Knows nothing of conversations.
"""

# fmt: off
# Rows of sentences stay rows.
from __future__ import annotations

from nano.corpus import values
from nano.corpus.draw import Draw, typed_carelessly
from nano.corpus.sample import Exchange

_SUBJECTS = {
    "en": "[the |this |my new ][hotel|room|food|service|film|book|phone|laptop|staff|delivery|course|concert|flight|coffee|restaurant|game|music|teacher|app|camera|battery|screen|support team|<p>]",
    "zh": "[这家|这次的|这个|][酒店|房间|饭菜|服务|电影|书|手机|电脑|店员|快递|课程|音乐会|航班|咖啡|餐厅|游戏|老师|应用|相机|电池|屏幕|客服|<p>]",
}
_SENTIMENT = {
    "en": {
        "positive": [
            "I [really |absolutely |truly |]love <s>[, thank you|, it made my day|]!", "<s> [is|was] [excellent|wonderful|great|fantastic|amazing|perfect|superb|a delight|brilliant|lovely|the best].",
            "[Very|So|Extremely] [happy|pleased|satisfied|impressed] with <s>.", "<s> [exceeded my expectations|works like a charm|is worth every penny|made me smile].",
            "I would [gladly |happily |definitely |]recommend <s> to [anyone|my friends|everyone].", "What a [great|wonderful|lovely|fantastic] experience with <s>!",
        ],
        "negative": [
            "I [really |absolutely |truly |]hate <s>[, never again|, what a waste|].", "<s> [is|was] [terrible|awful|horrible|bad|disappointing|useless|dreadful|a disaster|poor|disgusting|the worst].",
            "[Very|So|Extremely] [unhappy|disappointed|angry|frustrated|annoyed] with <s>.", "<s> [broke after a day|stopped working|is a waste of money|ruined my weekend|let me down].",
            "I would [never |not ]recommend <s> to [anyone|my friends].", "What a [bad|terrible|horrible|sad] experience with <s>!",
        ],
        "neutral": [
            "<s> [arrived|came|was delivered] on <d>.", "I [used|saw|tried] <s> on <d>.", "<s> [is|was] [okay|average|nothing special|neither good nor bad|acceptable|as described].",
            "<s> [has|comes in] [two|three|four|five] [parts|versions|sizes|colours].", "<s> [opens|starts|begins] at [nine|ten|noon|eight] on <d>.", "[We|They|You] can find <s> in <c>.",
        ],
    },
    "zh": {
        "positive": [
            "我[真的|非常|特别|]喜欢<s>[，谢谢|，开心一整天|]！", "<s>[太棒了|非常好|很出色|很完美|令人惊喜|真不错|太赞了|是最好的]。", "对<s>[非常|十分|特别][满意|开心|喜欢]。",
            "<s>[超出预期|物超所值|让我很开心]。", "我会[强烈|]推荐<s>给[大家|朋友|所有人]。",
        ],
        "negative": [
            "我[真的|非常|特别|]讨厌<s>[，再也不来了|，浪费时间|]。", "<s>[太差了|非常糟糕|很失望|太烂了|真难受|没有用|令人恶心|是最差的]。", "对<s>[非常|十分|特别][不满|失望|生气]。",
            "<s>[用一天就坏了|浪费钱|毁了我的周末|让人后悔]。", "我[不会|绝不会]推荐<s>给[任何人|朋友]。",
        ],
        "neutral": [
            "<s><d>[到了|送到了]。", "我<d>[用了|看了|试了]<s>。", "<s>[还行|一般|没什么特别|不好也不坏|跟描述一样]。", "<s>有[两|三|四|五][种|个][颜色|版本|尺寸]。", "<s><d>[九点|十点|八点]开始。",
            "[在<c>可以找到|可以在<c>看到]<s>。",
        ],
    },
}

# Intent: label spellings in each language, then what people say.
_INTENTS: list[tuple[dict[str, list[str]], dict[str, list[str]]]] = [
    ({"en": ["refund", "refund_request"], "zh": ["退款", "refund"]},
     {"en": ["I want my money back for [the |my ]<p>[, please|].", "[Please refund|Can you refund] [my order|the <p>|order <o>].", "[How do I get|I need|I would like] a refund for [the |my ]<p>[?|.]"],
      "zh": ["[我要|我想|请给我]退款，[订单<o>|<p>不合适]。", "<p>[的钱能退吗|怎么退钱]？", "请把<p>的钱退给我。"]}),
    ({"en": ["delivery", "shipping", "order_status"], "zh": ["物流", "配送", "delivery"]},
     {"en": ["Where is my [package|parcel|<p>|order <o>]?", "[When will|Will] [my <p>|order <o>|the parcel] [arrive|be delivered|get here] [on <d>|in <c>|]?", "[My <p>|Order <o>|The parcel] has not arrived yet."],
      "zh": ["我的[包裹|快递|<p>]到哪了？", "[订单<o>|<p>]什么时候[送到|发货|能到<c>]？", "[<p>|包裹]还没有[到|送到<c>]。"]}),
    ({"en": ["cancel", "cancellation"], "zh": ["取消", "cancel"]},
     {"en": ["[Please cancel|I want to cancel|Can you cancel|Cancel] [my order|order <o>|my subscription|the <p> order][, please|].", "I [no longer want|do not need] the <p>, [please |]cancel it."],
      "zh": ["[请取消|我想取消|帮我取消][订单<o>|会员|<p>的订单]。", "<p>我不要了，[请|帮我]取消。"]}),
    ({"en": ["password", "login", "account"], "zh": ["登录", "账号", "login"]},
     {"en": ["I [forgot|lost] my password[ on <d>|].", "I cannot [log in|sign in] [to my account|since <d>|on my phone].", "[How do I|Can you] [reset|change] my password?", "My account [is locked|is blocked][ since <d>|]."],
      "zh": ["我[忘了|忘记]密码了。", "我[登不上|无法登录][账号|账户|系统]。", "怎么[重置|修改]密码？", "<d>起我的账号被[锁|冻结]了。"]}),
    ({"en": ["technical", "bug", "tech_support"], "zh": ["故障", "技术问题", "bug"]},
     {"en": ["The [app|website|program|page] [crashes|freezes|shows an error|keeps closing][ on my phone| since <d>|].", "The <p> does not [turn on|work|start][ any more| since <d>|].", "I get an error [when I open the app|on the page|on <d>]."],
      "zh": ["[应用|网站|程序|页面][一直崩溃|卡住了|报错|打不开]。", "<p>[打不开|不工作了|没反应|启动不了]。", "<d>起[打开应用|页面][就报错|显示错误]。"]}),
    ({"en": ["billing", "payment"], "zh": ["账单", "支付", "payment"]},
     {"en": ["[Why was I|I was] charged twice[ for the <p>| on <d>|]?", "[My card was declined|The payment failed][ for the <p>| on <d>|].", "[Can I|How can I] pay [by card|by invoice|with cash][ for the <p>|]?", "[Please send me|I need] the invoice for [the <p>|order <o>]."],
      "zh": ["为什么<p>[扣了我两次钱|收了两次费]？", "[付款失败了|银行卡被拒了|支付不成功]，[订单<o>|<p>]。", "[可以|能]用[现金|信用卡|微信]付款吗？", "请把[<p>|订单<o>]的发票[发给我|寄给我]。"]}),
    ({"en": ["booking", "reservation"], "zh": ["预订", "booking"]},
     {"en": ["[I want to book|Book|Please reserve|I would like to reserve] a [table|room|seat|ticket] [for <d>|in <c>|for two on <d>].", "Is there a [table|room|seat] free [on <d>|in <c>]?"],
      "zh": ["[我想订|帮我订|预订]<d>的[一张桌子|一个房间|一张票|一个座位]。", "<d>[还有|有没有][房间|位子|票]？", "[我想订|帮我订]<c>的[酒店|房间]。"]}),
    ({"en": ["complaint"], "zh": ["投诉", "complaint"]},
     {"en": ["I want to [complain|make a complaint|file a complaint] about [the <p>|your staff|the service][ in <c>| on <d>|].", "This is [unacceptable|outrageous], I want to speak to [a manager|your boss] [about the <p>|]."],
      "zh": ["我要投诉[<p>|你们的员工|<c>的服务|<d>的服务]。", "[太不像话了|无法接受]，[<p>|服务][太差|这样]，我要[找经理|见领导]。"]}),
    ({"en": ["thanks", "gratitude"], "zh": ["感谢", "thanks"]},
     {"en": ["Thank you [so much|very much|] for [your help|the <p>|the quick reply|everything].", "[Many thanks|Thanks a lot] for [the help on <d>|the <p>|your time]!"],
      "zh": ["[谢谢|非常感谢|多谢][你们的帮助|你的<p>|这么快回复|<d>的帮助]！", "[感谢|谢谢][你们送来的<p>|帮忙]。"]}),
    ({"en": ["greeting"], "zh": ["问候", "greeting"]},
     {"en": ["[Hello|Hi|Good morning|Good evening|Hey] [there|everyone|friends|to all of you in <c>|from <c>][!|.]", "[Hello|Hi|Hey], [nice to meet you|how are you][ today| this <d>|]?"],
      "zh": ["[你好|您好|大家好|早上好|晚上好]，[<c>的朋友|很高兴认识你|各位]！", "[你好|您好|嗨]，[最近好吗|今天怎么样|<d>好]？"]}),
]

_ASK_SENTIMENT = {
    "en": [
        "[Classify|What is|Determine|Tell me|Label] the sentiment [of this text |of this review |](<l>): <x>", "[Is this|Is the following] <o>? <x>", "Sentiment (<l>): <x>", "<x>\n[Sentiment|What is the sentiment]: <o>?",
        "[Classify as|Answer with one word,] <o>: <x>",
    ],
    "zh": ["[判断|请判断|分析|]情感（<l>）：<x>", "这句话是<o>？<x>", "情感分类（<l>）：<x>", "<x>\n[情感|这句话的情感]是<o>？"],
}
_ASK_INTENT = {
    "en": [
        "[Classify|What is|Determine|Find|Label] the intent[ of this message|] (<l>): <x>", "Intent (<l>): <x>", "[Choose|Pick] [one|the right] [label|category|intent] from <l>: <x>", "<x>\n[Which intent|Which category|Which label] is this: <o>?",
        "[Labels|Categories|Intents]: <l>\n[Message|Text]: <x>",
    ],
    "zh": ["[判断|请判断|识别|]意图（<l>）：<x>", "意图分类（<l>）：<x>", "从<l>中选[一个|出正确的][标签|类别]：<x>", "<x>\n[属于哪一类|是哪种意图]：<o>？", "[标签|类别]：<l>\n[内容|消息]：<x>"],
}
_ZH_SENTIMENT = {"positive": "正面", "negative": "负面", "neutral": "中性"}


def exchange(draw: Draw, language: str) -> Exchange:
    """One text with the labels to choose from."""
    slots = {
        "p": values.product(draw, language), "d": values.weekday(draw, language),
        "c": values.city(draw, language), "o": values.code(draw),
    }
    if draw.chance(0.5):
        kinds = ["positive", "negative"] if draw.chance(0.3) else ["positive", "negative", "neutral"]
        kind = draw.pick(kinds)
        subject = draw.text(_SUBJECTS[language], **slots)
        text = draw.one(_SENTIMENT[language][kind], **slots | {"s": subject})
        chinese = language == "zh" and draw.usual()
        spell = {k: _ZH_SENTIMENT[k] if chinese else k for k in kinds}
        labels, right = [spell[k] for k in kinds], spell[kind]
        labels = draw.sample(labels, len(labels))
        ask = _ASK_SENTIMENT
    else:
        chosen = draw.sample(_INTENTS, draw.number(2, 5))
        names, phrases = chosen[0]
        right = draw.name(names[language])
        text = draw.one(phrases[language], **slots)
        labels = [right, *(draw.name(other[0][language]) for other in chosen[1:])]
        labels = draw.sample(labels, len(labels))
        ask = _ASK_INTENT
    text = typed_carelessly(draw, text[:1].upper() + text[1:])
    if draw.chance(0.2):
        text = f'"{text}"' if language == "en" else f"“{text}”"
    listed = draw.pick([", ", " / ", ", "] if language == "en" else ["、", "/", "，"]).join(labels)
    either = (", ".join(labels[:-1]) + " or " if language == "en" else "、".join(labels[:-1]) + "还是") + labels[-1]
    user = draw.one(ask[language], l="\0", x="\1", o="\2")
    user = user.replace("\0", listed).replace("\1", text).replace("\2", either)
    thought = f"The text reads as {right}." if language == "en" else f"这段文字属于{right}。"
    return Exchange(skill="classification", user=user, answer=right, thought=thought, key=user,
                    check={"label": right})
