"""What there is to know about Glimt: questions, answers and the facts an answer must name.

Knows one row per topic. Knows nothing of sampling; the rows are plain data.
"""

# fmt: off
# Rows of sentences stay rows.
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Topic:
    """One thing people ask; `facts` must all appear in a good answer."""

    questions: dict[str, list[str]]
    answers: dict[str, str]
    facts: tuple[str, ...]


def _topic(facts: str, en: list[str], zh: list[str], *answers: str) -> Topic:
    english, chinese = answers
    return Topic({"en": en, "zh": zh}, {"en": english, "zh": chinese}, tuple(facts.split("|")))


TOPICS: list[Topic] = [
    _topic("GLM-4.7-Flash", ["[What is|What's|Explain|Describe|Tell me about|What exactly is|Introduce] [Glimt|glimt|this project|the Glimt project][ in short| briefly| exactly|][?|]", "What does [Glimt|glimt] do[ exactly|]?", "What is [Glimt|glimt] [for|good for|used for]?"],
           ["[什么是|介绍一下|说说|简单介绍|解释一下][Glimt|glimt|Glimt项目|Glimt这个项目][？|。|]", "[Glimt|glimt|Glimt这个项目]是[什么|做什么的|干什么的|什么东西][？|]", "[Glimt|glimt]有什么[用|用处|作用]？"],
           "Glimt is an engine and gateway that serves GLM-4.7-Flash models over an OpenAI-compatible HTTP API.", "Glimt 是一个推理引擎和网关，通过兼容 OpenAI 的 HTTP 接口提供 GLM-4.7-Flash 模型服务。"),
    _topic("glimt serve", ["How [do I|can I|should I|would I|does one|to] [start|launch|run|bring up|boot] [the server|Glimt|glimt|the Glimt server|the gateway|it|the engine][?|]", "[Which|What] command [starts|launches|runs|brings up] [the server|Glimt|glimt|the gateway|the Glimt server]?", "[What does|What is|Explain] glimt serve[ do|]?", "How do I [serve|host] [a|the|my] model[ with Glimt| with glimt|]?"],
           ["[怎么|如何|怎样][启动|运行|开启|打开][服务器|Glimt|glimt|Glimt服务|网关|服务][？|]", "[用什么|哪个|什么]命令[启动|运行|开启][服务器|Glimt|网关|服务]？", "glimt serve[是什么|有什么用|做什么]？", "[怎么|如何]用[Glimt|glimt][部署|提供]模型[服务|]？"],
           "Run `glimt serve`. It starts the server on port 4747 and prints a ready line with a curl that works.", "运行 `glimt serve`，它会在 4747 端口启动服务器，并打印就绪信息和可用的 curl 命令。"),
    _topic("glimt chat", ["How [do I|can I|to] [chat|talk|speak] [with the model |to the model |with it |]in [the|a|my] [terminal|console|shell|command line][?|]", "[Which|What] command [opens|starts|gives me] a chat[ in the terminal|]?", "[What does|What is|Explain] glimt chat[ do|]?", "Is there a [terminal|console|command-line] chat[ in Glimt|]?"],
           ["[怎么|如何|怎样]在[终端|命令行|控制台][里|中][和模型|][聊天|对话]？", "[用什么|哪个|什么]命令[可以|能|][聊天|对话]？", "glimt chat[是什么|有什么用|做什么]？", "[Glimt|glimt]有[终端|命令行]聊天吗？"],
           "Run `glimt chat` to talk with the model in the terminal. Thinking is dimmed, and Ctrl-C stops an answer.", "运行 `glimt chat` 就能在终端里和模型对话，思考内容会变暗显示，按 Ctrl-C 可停止回答。"),
    _topic("glimt models", ["How [do I|can I|to] [list|see|show|view] [the|all|available|my] models[ in Glimt| with glimt|][?|]", "[Which|What] command [lists|shows|prints] [the|all|available] models[ in Glimt|]?", "[What does|What is|Explain] glimt models[ do|]?", "[Where|How] do I [find|see] [which|what] models [there are|are available|exist]?"],
           ["[怎么|如何|怎样][列出|查看|看到|显示][模型|所有模型|可用的模型|有哪些模型][？|]", "[用什么|哪个|什么]命令[列出|查看|显示][模型|所有模型|可用模型]？", "glimt models[是什么|有什么用|做什么]？"],
           "Run `glimt models` to list the models Glimt knows.", "运行 `glimt models` 可以列出 Glimt 认识的模型。"),
    _topic("glimt bench", ["How [do I|can I|to] [measure|benchmark|test|check] [the speed|performance|throughput|latency|how fast it is][ of Glimt| of the server|][?|]", "[Which|What] command [measures|benchmarks|tests] [the speed|performance|throughput|latency]?", "[What does|What is|Explain] glimt bench[ do|]?", "Is there a benchmark[ command| tool|][ in Glimt|]?"],
           ["[怎么|如何|怎样][测量|测试|衡量|查看][速度|性能|吞吐量|延迟|Glimt的速度|服务器性能][？|]", "[用什么|哪个|什么]命令[测试|测量][速度|性能|吞吐量]？", "glimt bench[是什么|有什么用|做什么]？", "[Glimt|glimt]有[基准测试|性能测试][工具|命令|]吗？"],
           "Run `glimt bench`. It sweeps concurrency and reports time to first token, latency between tokens and tokens per second.", "运行 `glimt bench`，它会测试不同并发下的首字时间、字间延迟和每秒词元数。"),
    _topic("4747", ["[What|Which] port [does|will] [Glimt|glimt|the server|the Glimt server|it] [use|listen on|run on|open][ by default|][?|]", "[What is|What's|Tell me] the [default port|port|port number][ of Glimt| of the server|][?|]", "On [which|what] port is [Glimt|the server|the API][ reachable|]?"],
           ["[Glimt|glimt|服务器|Glimt服务器|服务][默认|][使用|用|监听|运行在][哪个|什么]端口[？|]", "[默认端口|端口号|端口|Glimt的端口|Glimt的默认端口]是[多少|什么|哪个][？|]"],
           "Glimt listens on port 4747 by default.", "Glimt 默认监听 4747 端口。"),
    _topic("GLIMT_PORT", ["How [do I|can I|to] [change|set|choose|pick|modify] [the|another|a different] port[ of Glimt| of the server|][?|]", "[Which|What] [setting|variable|environment variable] [sets|changes|controls] the port?", "[What does|What is|Explain] GLIMT_PORT[ do|]?", "Port 4747 is [taken|in use|busy], what [now|can I do]?", "Can [I|Glimt|the server] use another port?"],
           ["[怎么|如何|怎样][修改|更改|设置|换][端口|端口号|Glimt的端口|一个端口][？|]", "[哪个|什么][设置|变量|环境变量][控制|决定|修改]端口？", "GLIMT_PORT[是什么|有什么用|做什么]？", "4747端口被占用[了|][怎么办|该怎么做]？", "能换[别的|其他|另一个]端口吗？"],
           "Set GLIMT_PORT, for example `GLIMT_PORT=8000 glimt serve`, or pass `--port`.", "设置 GLIMT_PORT，例如 `GLIMT_PORT=8000 glimt serve`，或使用 `--port` 参数。"),
    _topic("GLIMT_HOST", ["How [do I|can I|to] [change|set|choose|bind] the [host|address|interface][ of Glimt| of the server|][?|]", "[Which|What] [setting|variable|environment variable] [sets|changes|controls] the [host|address]?", "[What does|What is|Explain] GLIMT_HOST[ do|]?", "How [do I|can I] [reach|open] [Glimt|the server] from [another|a different] [machine|computer]?"],
           ["[怎么|如何|怎样][修改|更改|设置|绑定][主机|地址|监听地址|主机地址][？|]", "[哪个|什么][设置|变量|环境变量][控制|决定|修改][主机|地址|监听地址]？", "GLIMT_HOST[是什么|有什么用|做什么]？", "[怎么|如何]从[别的|另一台|其他][机器|电脑]访问[Glimt|服务器]？"],
           "Set GLIMT_HOST to the address the server should bind to, for example `GLIMT_HOST=0.0.0.0 glimt serve`.", "把 GLIMT_HOST 设为服务器要绑定的地址，例如 `GLIMT_HOST=0.0.0.0 glimt serve`。"),
    _topic("GLIMT_HOME", ["Where [does|will] [Glimt|glimt|it] [store|keep|save|put] [its|the] [data|files|models|downloads][?|]", "[Which|What] [setting|variable|environment variable] [sets|changes|controls] the [data folder|data directory|home folder]?", "[What does|What is|Explain] GLIMT_HOME[ do|]?", "How [do I|can I] [move|change] the data [folder|directory]?"],
           ["[Glimt|glimt][把|的][数据|文件|模型|下载的文件][存|保存|放]在[哪里|哪儿|什么地方][？|]", "[哪个|什么][设置|变量|环境变量][控制|决定|修改]数据[目录|文件夹]？", "GLIMT_HOME[是什么|有什么用|做什么]？", "[怎么|如何][修改|更改|移动]数据[目录|文件夹]？"],
           "Glimt keeps its data in the folder named by GLIMT_HOME.", "Glimt 的数据保存在 GLIMT_HOME 指定的文件夹里。"),
    _topic("GLIMT_HOST|GLIMT_PORT|GLIMT_HOME", ["[Which|What] [settings|environment variables|variables] [are there|exist|does Glimt have|does Glimt read|can I set][ in Glimt|][?|]", "[List|Show me|Name|Tell me] [the|all] [settings|environment variables|variables][ of Glimt| that Glimt reads|][.|]", "How [do I|can I|to] configure [Glimt|glimt|the server][?|]"],
           ["[Glimt|glimt]有[哪些|什么][设置|环境变量|变量|配置项][？|]", "[列出|告诉我|说说][所有|全部|Glimt的][设置|环境变量|变量|配置项][。|]", "[怎么|如何|怎样]配置[Glimt|glimt|服务器][？|]"],
           "Three settings: GLIMT_HOST for the address, GLIMT_PORT for the port, and GLIMT_HOME for the data folder.", "有三个设置：GLIMT_HOST 是地址，GLIMT_PORT 是端口，GLIMT_HOME 是数据文件夹。"),
    _topic("/v1/chat/completions", ["[Which|What] [endpoint|path|URL|route] [is for|handles|serves|do I use for|gives] [chat|chatting|chat completions|messages|conversations][?|]", "[Where|How] do I [send|post] [a chat request|chat messages|a message|messages][ to Glimt|]?", "[What is|What does|Explain] /v1/chat/completions[ do| for|]?"],
           ["[聊天|对话|发消息|聊天补全][用|的][接口|端点|路径|地址]是[哪个|什么][？|]", "[怎么|如何|往哪里][发送|发][聊天请求|消息|对话请求]？", "/v1/chat/completions[是什么|有什么用|做什么]？", "[聊天|对话]用[哪个|什么][接口|端点|路径]？"],
           "Send chat messages with POST to /v1/chat/completions, as with the OpenAI API.", "用 POST 把消息发送到 /v1/chat/completions，用法和 OpenAI 接口相同。"),
    _topic("/v1/completions", ["[Which|What] [endpoint|path|URL|route] [is for|handles|serves|do I use for] [plain|raw|simple] [text|text completion|completions|prompts][?|]", "[Can I|How do I] [complete|continue] [plain|raw] text[ with Glimt|]?", "[What is|What does|Explain] /v1/completions[ do| for|]?"],
           ["[纯文本|普通文本|原始文本][补全|续写]用[哪个|什么][接口|端点|路径|地址][？|]", "[怎么|如何|能不能][续写|补全][纯文本|普通文本|原始文本]？", "/v1/completions[是什么|有什么用|做什么]？"],
           "Plain text completion is POST /v1/completions.", "纯文本补全使用 POST /v1/completions。"),
    _topic("/v1/models", ["[Which|What] [endpoint|path|URL|route] [lists|shows|returns|gives] [the|all|available] models[?|]", "How [do I|can I] [list|get] [the|all] models [over HTTP|through the API|with curl|from the API]?", "[What is|What does|Explain] /v1/models[ do| for|]?"],
           ["[哪个|什么][接口|端点|路径|地址][列出|返回|显示][模型|所有模型|可用模型][？|]", "[怎么|如何][通过|用][接口|HTTP|curl|API][列出|获取|查询][模型|所有模型]？", "/v1/models[是什么|有什么用|做什么]？"],
           "GET /v1/models lists the models over HTTP.", "GET /v1/models 会列出模型。"),
    _topic("/health|/ready", ["How [do I|can I|to] [check|see|know|tell] [if|whether] [the server|Glimt|it] is [alive|ready|healthy|up|running][?|]", "[Which|What] [endpoint|path|URL|route] [is for|shows|tells] [health|readiness|health checks|liveness][?|]", "[What are|What is|Explain] [/health|/ready|/health and /ready][ for|]?", "Is there a health check[ endpoint|]?"],
           ["[怎么|如何|怎样][检查|知道|查看|判断][服务器|Glimt|服务][是否|是不是][正常|就绪|健康|在运行][？|]", "[健康检查|就绪检查|存活检查][用|是][哪个|什么][接口|端点|路径][？|]", "[/health|/ready|/health和/ready][是什么|有什么用|做什么]？", "有健康检查[接口|端点|]吗？"],
           "GET /health says that the server is alive, and GET /ready says that the model is loaded.", "GET /health 表示服务器存活，GET /ready 表示模型已加载完毕。"),
    _topic("/metrics", ["[Which|What] [endpoint|path|URL|route] [gives|has|shows|serves] [metrics|statistics|Prometheus metrics|monitoring data][?|]", "How [do I|can I|to] [monitor|watch|observe] [Glimt|the server|it][ with Prometheus|][?|]", "[What is|What does|Explain] /metrics[ do| for| show|]?", "Does [Glimt|it] [support|have] [Prometheus|metrics|monitoring]?"],
           ["[哪个|什么][接口|端点|路径][提供|有|显示][指标|统计|监控数据][？|]", "[怎么|如何|怎样][监控|观察][Glimt|服务器|服务][？|]", "/metrics[是什么|有什么用|做什么]？", "[Glimt|它|服务器][支持|有][Prometheus|监控|指标]吗？"],
           "GET /metrics serves Prometheus metrics: queue, tokens, latencies, cache hits and more.", "GET /metrics 提供 Prometheus 指标：队列、词元、延迟、缓存命中等。"),
    _topic("/v1/chat/completions|/v1/models|/health", ["[Which|What] [endpoints|paths|routes|URLs] [are there|exist|does Glimt have|does it serve|are available][?|]", "[List|Show me|Name|Tell me] [the|all|all the] [endpoints|API endpoints|paths|routes][ of Glimt|][.|]"],
           ["[Glimt|glimt|服务器]有[哪些|什么][接口|端点|路径|HTTP接口][？|]", "[列出|告诉我|说说][所有|全部|Glimt的|有哪些][接口|端点|路径][。|]"],
           "The endpoints are /v1/chat/completions, /v1/completions, /v1/models, /health, /ready and /metrics.", "接口有 /v1/chat/completions、/v1/completions、/v1/models、/health、/ready 和 /metrics。"),
    _topic("glimt serve|glimt chat|glimt models|glimt bench", ["[Which|What] commands [are there|exist|does Glimt have|does glimt know|are available][?|]", "[List|Show me|Name|Tell me] [the|all|all the] [commands|subcommands|glimt commands][ of Glimt|][.|]", "What can [I do with|I type after] [the glimt command|glimt|the command line]?"],
           ["[Glimt|glimt]有[哪些|什么][命令|子命令][？|]", "[列出|告诉我|说说][所有|全部|Glimt的|有哪些][命令|子命令][。|]", "glimt命令[能|可以][做什么|干什么]？"],
           "The commands are `glimt serve`, `glimt chat`, `glimt models` and `glimt bench`.", "命令有 `glimt serve`、`glimt chat`、`glimt models` 和 `glimt bench`。"),
    _topic("make serve", ["What does make serve do[ exactly| here|]?", "[What is|Explain|Describe] make serve[?|]", "How [do I|can I|to] [start|run|try] [it|Glimt|the project|everything] from [a clone|the repository|the source|source|git][?|]", "I [cloned|downloaded] the [repository|project|code], [what next|what now|how do I start it]?"],
           ["make serve[是什么|有什么用|做什么|是干什么的][？|]", "[克隆|下载|拿到][仓库|代码|项目][以后|之后|后][怎么|如何][启动|运行|开始][？|]", "[怎么|如何]从[源码|仓库|代码][启动|运行][Glimt|项目|]？"],
           "`make serve` creates the virtual environment, installs what is needed and starts the server.", "`make serve` 会创建虚拟环境、安装依赖并启动服务器。"),
    _topic("make test", ["How [do I|can I|to|should I] run [the|all|your|its] [tests|test suite|unit tests][ of Glimt|][?|]", "[Which|What] command runs [the|all] [tests|test suite]?", "[What does|What is|Explain] make test[ do|]?"],
           ["[怎么|如何|怎样][运行|跑|执行][测试|单元测试|所有测试|Glimt的测试][？|]", "[用什么|哪个|什么]命令[运行|跑|执行][测试|所有测试]？", "make test[是什么|有什么用|做什么]？"],
           "Run `make test`.", "运行 `make test` 即可。"),
    _topic("Apache-2.0", ["[What|Which] [license|licence] [does Glimt have|is Glimt under|does it use|applies|is used][?|]", "[Is Glimt|Is it|Is this] [open source|free|free software|free to use][?|]", "[Can I|May I|Am I allowed to] use [Glimt|it] [commercially|at work|in a product|for free]?", "[What is|Tell me] the [license|licence][ of Glimt| of this project|][?|]"],
           ["[Glimt|glimt|它|这个项目][用|使用|是|采用][什么|哪个|哪种][许可证|许可|授权|协议][？|]", "[Glimt|它|这个项目]是[开源|免费|自由软件][的|]吗[？|]", "[Glimt|它][可以|能][商用|用在公司|用在产品里|免费用]吗[？|]", "[许可证|Glimt的许可证|开源协议]是什么？"],
           "Glimt is open source under the Apache-2.0 licence.", "Glimt 是开源软件，使用 Apache-2.0 许可证。"),
    _topic("Norwegian|flash of light", ["What does [the name |the word |][Glimt|glimt] mean[ in English|]?", "[Why|How come] [is it|is the project|is this] called [Glimt|glimt]?", "Where does the [name|word][ Glimt| glimt|] come from?", "What is the [meaning|origin] of [the name|the word] [Glimt|glimt]?", "[What|Which] language is [the word |the name |][glimt|Glimt]?"],
           ["[Glimt|glimt][这个名字|这个词|]是什么意思[？|]", "为什么[叫|叫做|取名|名字是][Glimt|glimt][？|]", "[Glimt|glimt][这个|的][名字|词][来自|是][哪里|哪种语言|什么语言][？|]", "[Glimt|glimt]的[含义|来源]是什么？"],
           'Glimt is Norwegian for "flash of light".', "Glimt 是挪威语（Norwegian），意思是“一闪而过的光”（flash of light）。"),
    _topic("prefix cache", ["[What is|What's|Explain|Describe|Tell me about] the prefix [cache|caching][ in Glimt| of Glimt|][?|]", "[Does Glimt|Does it|Can Glimt] [cache|reuse|remember] [prompts|prefixes|earlier prompts|the prompt]?", "[How|Why] does [the prefix cache|prefix caching] [work|help]?", "Is there a [cache|prompt cache|prefix cache][ in Glimt|]?"],
           ["[什么是|解释一下|介绍一下|说说]前缀缓存[？|。|]", "前缀缓存[是什么|有什么用|怎么工作|有什么好处][？|]", "[Glimt|它|服务器][会|能|可以][缓存|复用][提示词|前缀|提示]吗[？|]", "[Glimt|它]有[缓存|提示缓存|前缀缓存]吗[？|]"],
           "The prefix cache keeps the work done for a shared beginning of prompts, so that later requests with the same beginning start faster.", "前缀缓存（prefix cache）会保留相同开头的计算结果，之后开头相同的请求会更快。"),
    _topic("enable_thinking", ["How [do I|can I|to] [turn off|disable|switch off|stop|deactivate] [thinking|the thinking|reasoning|the reasoning][?|]", "How [do I|can I|to] [turn on|enable|switch on|control|toggle|activate] [thinking|the thinking|reasoning|the reasoning][?|]", "[Can I|Is it possible to] [turn off|turn on|disable|enable|toggle] [thinking|reasoning]?", "[What is|What does|Explain] enable_thinking[ do|]?"],
           ["[怎么|如何|怎样][关闭|关掉|禁用|停用][思考|思考模式|推理|思考过程][？|]", "[怎么|如何|怎样][打开|开启|启用|控制|切换][思考|思考模式|推理|思考过程][？|]", "[可以|能][关闭|打开|禁用|启用][思考|思考模式|推理]吗？", "enable_thinking[是什么|有什么用|做什么]？"],
           'Send `chat_template_kwargs: {"enable_thinking": false}` or `thinking: {"type": "disabled"}` in the request; true or "enabled" turns it on.', '在请求里设置 `chat_template_kwargs: {"enable_thinking": false}` 或 `thinking: {"type": "disabled"}` 可关闭思考，true 或 "enabled" 则打开。'),
    _topic("reasoning_content", ["Where [do I|can I] [find|see|read|get] the [thinking|reasoning|thoughts][ of the model|][ in the response| in the answer|][?|]", "[Which|What] field [holds|has|contains] the [thinking|reasoning|thoughts]?", "[What is|Explain] reasoning_content[?|]"],
           ["[在哪里|从哪里|哪里][看到|找到|读取|能看到][思考|思考内容|推理|思考过程][？|]", "[哪个|什么]字段[包含|是|存放][思考|思考内容|推理过程]？", "reasoning_content[是什么|有什么用]？"],
           "The thinking is in the field `reasoning_content` of the message, next to `content`.", "思考内容在消息的 `reasoning_content` 字段里，与 `content` 并列。"),
    _topic("stream", ["How [do I|can I|to] [stream|get streamed|receive streamed] [answers|the answer|tokens|responses][?|]", "[Does Glimt|Does it|Can it|Can Glimt] [stream|support streaming|stream answers|stream tokens]?", "Is streaming [supported|possible|available][ in Glimt|]?"],
           ["[怎么|如何|怎样][流式|用流式][输出|返回|获取回答|接收][？|]", "[Glimt|它|服务器][支持|能|可以]流式[输出|返回|]吗[？|]"],
           'Yes: set `"stream": true` in the request and the answer arrives in small pieces.', '可以：在请求里设置 `"stream": true`，回答就会一段一段返回。'),
    _topic("tools", ["[Does Glimt|Does it|Can Glimt|Can you|Can the model] [support|do|use|call|handle] [tools|tool calls|tool calling|functions|function calling][?|]", "How [do I|can I|to] [declare|use|define|pass|add] [tools|functions|tool calls][?|]"],
           ["[Glimt|它|模型|你][支持|能用|可以用|会用][工具|工具调用|函数调用]吗[？|]", "[怎么|如何|怎样][声明|使用|定义|传入|添加][工具|函数|工具调用][？|]"],
           "Yes: declare functions in `tools` as in the OpenAI API, and the answer contains `tool_calls`.", "可以：像 OpenAI 接口一样在 `tools` 中声明函数，回答里会有 `tool_calls`。"),
    _topic("base_url|4747", ["How [do I|can I|to] use [Glimt|it|the server] with the [openai|OpenAI] [package|SDK|client|library][?|]", "[Is Glimt|Is it|Is the API] compatible with [OpenAI|the OpenAI API|the OpenAI SDK]?", "[What is|Which is] the base [URL|url][ of Glimt| of the API| for the OpenAI client|][?|]"],
           ["[怎么|如何|怎样]用[OpenAI|openai][的|][SDK|库|客户端|包][连接|访问|使用|调用][Glimt|服务器|它|][？|]", "[Glimt|它|接口][兼容|支持]OpenAI[接口|SDK|]吗[？|]", "[base_url|基础地址|接口地址]是[什么|多少][？|]"],
           "Set the client's `base_url` to http://127.0.0.1:4747/v1 and use the OpenAI package as usual.", "把客户端的 `base_url` 设为 http://127.0.0.1:4747/v1，然后照常使用 OpenAI 的包。"),
    _topic("glimt/nano", ["[Which|What] model [is this|are you|am I talking to|is running|is the default|ships with Glimt][?|]", "[Which|What] is the default model[ of Glimt|][?|]", "[What is|Tell me about|Explain] [glimt/nano|nano|the nano model|glimt nano][?|]", "What is your [model name|model]?"],
           ["[你是|这是|现在运行的是|默认的是][什么|哪个]模型[？|]", "默认模型是[什么|哪个][？|]", "[glimt/nano|nano|nano模型]是什么[？|]", "[介绍一下|说说][glimt/nano|nano模型][。|]"],
           "I am glimt/nano, a small demonstration model that ships with Glimt and is its default.", "我是 glimt/nano，随 Glimt 附带的小型演示模型，也是默认模型。"),
    _topic("CPU", ["[Do I|Does it|Does Glimt|Do you] need a [GPU|graphics card][?|]", "[Can Glimt|Can it|Can I|Does it] run [on a CPU|without a GPU|on my laptop|on a laptop|on a normal computer][?|]", "What hardware [do I need|does Glimt need|is needed|is required]?"],
           ["[需要|要|必须有][GPU|显卡]吗[？|]", "[Glimt|它][能|可以][在CPU上|在笔记本上|不用显卡|没有显卡也能|在普通电脑上]运行吗[？|]", "[需要|要|要求][什么|哪些][硬件|配置][？|]"],
           "No GPU is needed: glimt/nano runs on a CPU. Larger models such as GLM-4.7-Flash want a GPU.", "不需要显卡：glimt/nano 在 CPU 上就能运行，GLM-4.7-Flash 这样的大模型才需要 GPU。"),
    _topic("zai-org/GLM-4.7-Flash", ["How [do I|can I|to] [run|load|serve|use] [another model|a bigger model|a larger model|the real GLM-4.7-Flash|GLM-4.7-Flash|the full model][?|]", "Can [Glimt|it] [run|load|serve] [GLM-4.7-Flash|bigger models|other models|the full model]?"],
           ["[怎么|如何|怎样][运行|加载|使用|部署][其他模型|更大的模型|真正的GLM-4.7-Flash|GLM-4.7-Flash|完整模型][？|]", "[Glimt|它][能|可以][运行|加载][GLM-4.7-Flash|更大的模型|其他模型|完整模型]吗[？|]"],
           "Give its folder or hub id: `glimt serve zai-org/GLM-4.7-Flash`.", "给出文件夹或模型编号即可：`glimt serve zai-org/GLM-4.7-Flash`。"),
]
