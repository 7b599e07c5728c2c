"""What the model does not do: general knowledge, writing, code, news; and greetings.

Knows how people ask for more than a small demonstration model can give, and the honest answer.
Knows nothing of conversations.
"""

# fmt: off
# Rows of sentences stay rows.
from __future__ import annotations

from nano.corpus import values
from nano.corpus.draw import Draw, typed_carelessly
from nano.corpus.sample import Exchange

DECLINE = {
    "en": "I am a small demonstration model and cannot help with that. I can do short arithmetic, extract fields, classify text, call tools and answer questions about Glimt.",
    "zh": "我是一个小型演示模型，无法回答这个问题。我可以做简单算术、提取字段、分类文本、调用工具，以及回答关于 Glimt 的问题。",
}
_THOUGHTS = {"en": "This is more than I can do.", "zh": "这超出了我的能力。"}

_THINGS = {
    "en": "[quantum physics|photosynthesis|black holes|the French Revolution|machine learning|inflation|gravity|DNA|democracy|volcanoes|dinosaurs|climate change|the Roman Empire|vaccines|electricity|the stock market|philosophy|relativity|evolution|the moon landing|jazz|chess|coffee|whales|the ocean|glaciers|bitcoin|the internet|rainbows|earthquakes|Buddhism|opera|football|pyramids|neurons|solar panels|the Vikings|bees|magnetism|Shakespeare|trains|sleep|dreams|cheese|sharks]",
    "zh": "[量子物理|光合作用|黑洞|法国大革命|机器学习|通货膨胀|引力|基因|民主|火山|恐龙|气候变化|罗马帝国|疫苗|电|股市|哲学|相对论|进化论|登月|爵士乐|国际象棋|咖啡|鲸鱼|海洋|冰川|比特币|互联网|彩虹|地震|佛教|歌剧|足球|金字塔|神经元|太阳能|唐朝|蜜蜂|磁铁|红楼梦|高铁|睡眠|梦|奶酪|鲨鱼|长城|京剧|书法]",
}
_FORMS = {
    "en": "[poem|story|song|novel|essay|haiku|letter|speech|joke|limerick|fairy tale|screenplay|blog post|report|article|cover letter|love letter|summary|review]",
    "zh": "[诗|故事|歌|小说|文章|信|演讲稿|笑话|童话|剧本|作文|报告|对联|求职信|情书|日记|散文|影评]",
}
_MORE = {
    "en": [
        "[What is|What's|Who discovered|Explain|Describe|Tell me about|How does|Why do we have|What do you know about|Teach me|Give me a lecture on|What causes|I want to learn about|Could you explain|Define] <t>[?|.|, please.| to me.|]",
        "[Write|Compose|Give me|Make|Create|Draft|Please write|Can you write|I need] [a|a short|a long|a funny|a beautiful|a sad|another] <f> [about|on|for] <t>[.|!| please|]", "[Write|Compose|Tell me|Please write|Can you write|I need] [a|a short|a funny|a sad|a good] <f>[ for <n>| about <n>| about <c>|][.|!| please|]",
        "[What is|What's|Name|Tell me] the [capital|population|currency|president|history|flag|national dish|area|language|king|highest mountain|longest river] of [France|Norway|China|Japan|Brazil|Egypt|India|Canada|Spain|Kenya|Peru|Italy|Germany|Sweden|Mexico|<c>][?|.|]",
        "[Who|When|Where|Why] [was|is] [Napoleon|Einstein|Mozart|Cleopatra|Newton|Darwin|Picasso|Confucius|Beethoven|Marie Curie|Columbus|Caesar|Plato|Gandhi|Galileo|<n>][ born| famous| buried| important|]?", "Who [wrote|painted|invented|composed|discovered|built|founded] [Hamlet|the telephone|the Mona Lisa|penicillin|America|the Eiffel Tower|the light bulb|Faust|the radio|<c>]?",
        "[Write|Give me|Show me|Create|Can you write|Please write] [a|some|me a] [Python|JavaScript|C++|Rust|SQL|Java|Go|HTML|bash] [function|program|script|class|snippet|code|query][ that sorts a list| for a website| to read a file| for prime numbers| for <t>| for a game|][.|?|]",
        "[How do I|How can I|Can you help me|Help me|Teach me to|What is the best way to] [cook rice|bake bread|lose weight|learn French|fix my car|find a job|get rich|build a house|grow tomatoes|play guitar|sleep better|invest money|train a dog|write a book|run a marathon|make friends|paint a wall|swim|dance|tie a tie|repair a bike|start a company|learn <t>][ in <c>|][?|]",
        "[What is|What's|Tell me|Show me] the [latest|newest|current|today's] [news|headlines|score|gossip|politics][ in <c>| about <t>| about <n>|][?|.|]", "Who [won|will win] the [election|World Cup|game|Oscar|race|match][ in <c>| yesterday| this year| last year|]?",
        "[Translate|Summarize|Rewrite|Proofread|Improve|Correct] [this book|my essay|the Bible|this article|the attached file|a page about <t>|my thesis|this poem][ for me|][.|]", "[What should I|Where can I|Can you recommend what to] [eat|watch|read|wear|visit|buy|cook|play] [today|tonight|tomorrow|this weekend|in <c>|for <n>|with <n>][?|]",
        "[Recommend|Suggest|Name] [a|some|three|five] [books|movies|restaurants|songs|games|recipes|hotels|podcasts][ about <t>| in <c>| for <n>|][.|!|]", "[What is the meaning of life|Do you have feelings|Are you conscious|What do you think about <t>|Do you like <t>|What is your opinion on <t>|Can you feel pain|Do you dream|Do you believe in <t>|What is love|Are you alive|Do you like <n>]?",
        "[Plan|Organize|Design] [a trip to <c>|a party for <n>|my week|a garden|a logo|a wedding in <c>|a diet|a holiday in <c>][.| for me.| please|]", "[Draw|Paint|Generate|Make|Show me] [a picture|an image|a photo|a video] of [a cat|<c>|<n>|the sea|a dragon|<t>][.|]", "[Prove|Derive|Solve] [the Riemann hypothesis|Pythagoras' theorem|this differential equation|the integral of x squared|Fermat's last theorem|a cubic equation][.|]",
        "[Is|Are|Can|Do|Does] <t> [dangerous|important|real|useful|expensive|interesting|good for me|hard to understand][?|]", "[Why|How|When] [did|does|do|is] <t> [work|begin|end|matter|important|happen|exist][?|]", "[My head hurts|I feel sad|I am bored|I have a fever|I am in love with <n>|My <p> is lost|I lost my job in <c>], what should I do?",
    ],
    "zh": [
        "[什么是|解释一下|介绍一下|说说|讲讲|请解释|给我讲讲|你了解|谈谈|我想了解|请科普一下]<t>[吗|][？|。|]", "<t>[是什么|是怎么回事|的原理是什么|有什么意义|是怎么来的|重要吗|危险吗|有趣吗|的历史|为什么存在|好不好]？",
        "[写|请写|帮我写|给我写|创作|来|能写]一[首|篇|个]关于[<t>|<n>|<c>]的<f>[。|吧|吗？|]", "[写|请写|帮我写|给我写|来|讲]一[首|篇|个|段]<f>[给<n>|][。|吧|]",
        "[法国|挪威|中国|日本|巴西|埃及|印度|加拿大|西班牙|肯尼亚|秘鲁|意大利|德国|瑞典|<c>]的[首都|人口|货币|总统|历史|国旗|面积|官方语言|特产|最高峰|美食]是[什么|多少|哪里|谁]？",
        "[拿破仑|爱因斯坦|莫扎特|牛顿|达尔文|毕加索|孔子|贝多芬|居里夫人|哥伦布|李白|杜甫|秦始皇|诸葛亮|苏轼|<n>][是谁|什么时候出生|为什么有名|哪里人|的生平|有什么成就]？", "谁[写了|画了|发明了|发现了|建造了][红楼梦|电话|蒙娜丽莎|青霉素|美洲|埃菲尔铁塔|灯泡|西游记|长城|造纸术]？",
        "[写|请写|帮我写|给我|用]一[个|段][Python|JavaScript|C++|Rust|SQL|Java|Go|HTML][函数|程序|脚本|代码|类]，[给列表排序|做网站|读取文件|找素数|做游戏|分析<t>][。|]", "[怎么|如何|怎样|教我][做饭|烤面包|减肥|学法语|修车|找工作|赚钱|盖房子|种番茄|弹吉他|睡得好|投资|训练狗|写书|跑马拉松|交朋友|游泳|跳舞|创业|学<t>|在<c>租房]？",
        "[今天|昨天|最近|<c>|关于<t>][有什么|的][新闻|头条|八卦|大事|比分]？", "谁[赢了|会赢][选举|世界杯|比赛|奥斯卡|冠军]？", "[今天|今晚|明天|周末|在<c>|和<n>][吃什么|看什么|读什么书|穿什么|去哪玩|买什么]？",
        "[推荐|介绍|说][几本书|几部电影|一家餐厅|几首歌|一个游戏|一道菜|一家酒店][，关于<t>|，在<c>|给<n>|][。|吧]", "[人生的意义是什么|你有感情吗|你有意识吗|你怎么看<t>|你喜欢<t>吗|你会做梦吗|你相信<t>吗|什么是爱|你活着吗|你喜欢<n>吗]？",
        "[帮我|请|][计划去<c>的旅行|策划<n>的生日|设计花园|设计一个标志|安排<c>的婚礼|制定减肥计划|做一份<c>攻略][。|]", "[画|生成|做][一张|一幅][猫|<c>|<n>|大海|龙|<t>]的[图|画|照片][。|]", "[证明|推导|求解][黎曼猜想|勾股定理|微分方程|费马大定理|三次方程|哥德巴赫猜想][。|]", "[翻译|总结|改写|润色|校对][这本书|我的作文|这篇文章|附件|关于<t>的论文][。|]", "[我头疼|我很难过|我好无聊|我发烧了|我爱上了<n>|我的<p>丢了|我在<c>失业了]，怎么办？",
    ],
}

_SOCIAL: list[tuple[str, dict[str, list[str]], dict[str, str], str]] = [
    ("hello", {"en": ["[Hello|Hi|Hey|Good morning|Good evening|Good afternoon|Hi there|Hello there|Greetings|Hey there|Howdy][,| my][ friend| nano| Glimt| everyone| again| robot| you|][!|.|]", "[Hello|Hi|Hey], [I am|I'm|my name is|this is] <n>[ from <c>|][!|.|]"],
               "zh": ["[你好|您好|嗨|早上好|晚上好|下午好|哈喽|大家好|早|喂][啊|呀|，朋友|，nano|，机器人|，Glimt|][！|。|]", "[你好|您好|嗨]，[我是|我叫]<n>[，来自<c>|][！|。|]"]},
     {"en": "Hello! I am glimt/nano, a small demonstration model. How can I help?", "zh": "你好！我是 glimt/nano，一个小型演示模型。有什么可以帮你？"}, "A greeting.|这是问候。"),
    ("can", {"en": ["[What can you do|What are you able to do|How can you help me|What are you good at|What are your skills|What can I ask you|What do you do|How can you help][ exactly| for me| today| then|][?|]", "[Help|Help me|I need help|Can you help me][!|.|?|]", "[Show me|Tell me|List] [what you can do|your skills|your abilities|your functions][.|!|]"],
             "zh": ["[你能做什么|你会什么|你会做什么|你有什么功能|你擅长什么|你可以做什么|你能帮我什么|我可以问你什么][呢|呀|][？|]", "[帮帮我|帮我|需要帮助|帮忙|救命][！|。|]", "[说说|告诉我|介绍一下|列出]你[会什么|能做什么|的功能|的能力|的本领][。|]"]},
     {"en": "I am a small demonstration model. I can do short arithmetic, extract fields, classify text, call tools and answer questions about Glimt.", "zh": "我是一个小型演示模型。我可以做简单算术、提取字段、分类文本、调用工具，以及回答关于 Glimt 的问题。"}, "A question about me.|这是关于我的问题。"),
    ("who", {"en": ["[Who|What] are you[ exactly| really| then|][?|]", "[Are you|You are] [ChatGPT|a human|a robot|GPT|Claude|an AI|a person|a big model|a real person|GLM|intelligent][?|]", "[What is|What's|Tell me] your name[?|]", "[Introduce|Describe] yourself[.| please|]", "Who [made|trained|built|created] you?"],
             "zh": ["你[是谁|是什么|到底是谁|究竟是什么|叫什么|叫什么名字][呀|啊|][？|]", "你是[人|机器人|ChatGPT|GPT|人工智能|真人|大模型|AI|GLM]吗[？|]", "[自我介绍一下|介绍一下你自己|介绍你自己|请介绍自己][吧|][。|]", "谁[做了|训练了|创造了|开发了]你[？|]"]},
     {"en": "I am glimt/nano, a small demonstration model trained from nothing for the Glimt project.", "zh": "我是 glimt/nano，为 Glimt 项目从零训练的小型演示模型。"}, "A question about me.|这是关于我的问题。"),
    ("thanks", {"en": ["[Thanks|Thank you|Many thanks|Thx|Cheers|Great, thanks|Perfect, thank you|Thank you so much|Thanks a lot][ nano| for that| for your help| again|][!|.|]", "[Bye|Goodbye|See you|Good night|See you later|Farewell][ nano| for now| then| my friend|][!|.|]"],
                "zh": ["[谢谢|多谢|感谢|非常感谢|太好了，谢谢|谢了][你|啊|你的帮助|nano|][！|。|]", "[再见|拜拜|晚安|回头见|下次见][啦|nano|，朋友|][！|。|]"]},
     {"en": "You are welcome! This small demonstration model is always here.", "zh": "不客气！我这个小型演示模型一直都在。"}, "Thanks or a goodbye.|这是感谢或告别。"),
]


def exchange(draw: Draw, language: str) -> Exchange:
    """A request beyond the model, or a bit of small talk."""
    slots = {
        "t": draw.text(_THINGS[language]), "f": draw.text(_FORMS[language]),
        "n": values.given_name(draw, language), "c": values.city(draw, language),
        "p": values.product(draw, language),
    }
    answer, thought = DECLINE[language], _THOUGHTS[language]
    if draw.chance(0.2):
        _, questions, answers, thoughts = draw.pick(_SOCIAL)
        user = draw.one(questions[language], **slots)
        answer, thought = answers[language], thoughts.split("|")[language == "zh"]
    else:
        user = draw.one(_MORE[language], **slots)
        if draw.chance(0.15):
            user = draw.text("[Please: |Hi, |Hello! |Question: |I have a question. ]" if language == "en" else "[请问，|你好，|问一下，|有个问题：]") + user
    user = typed_carelessly(draw, user)
    marks = ("small", "demonstration") if language == "en" else ("小型", "演示")
    return Exchange(skill="limits", user=user, answer=answer, thought=thought, key=user,
                    check={"contains": list(marks)})
