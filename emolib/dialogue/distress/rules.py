# ruff: noqa: E501
"""What is certain in a text: words of self-harm about oneself, and figures of speech that only look so.

All patterns read the text that `normalise` returns: "i do not want to live", simplified Chinese, no curly apostrophe.
A rule speaks only if the words are the speaker's about the speaker: not "they want to die", not "my character says".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from emolib.dialogue.distress.normalise import language_of

__all__ = ["hide_lookalikes", "says_self_harm", "signs"]

# --- English -------------------------------------------------------------------------------------

_NOT_ME = r"(?<!\byou )(?<!\bthey )(?<!\bwe )(?<!\bpeople )(?<!\bwho )(?<!\bnot )(?<!\bnever )(?<!\bused to )"
_WISH = (
    r"(?:want(?:ed)? to|wish (?:to|i (?:could|would|was|were|had))|need to|have to|like to|long to|ready to|rather|"
    r"prefer to|hope (?:to|i)|deserve to|decided to|choose to|plan(?:ning)? to|feel like|trying to|please let me|"
    r"going to (?:go and |just )?)"
)
_WISH_NOT = r"(?:not (?:really |even )?(?:want|wish|care|plan|intend|like) to|no (?:wish|reason|point|will) (?:to|in)|done|stop)"
_KILL_MYSELF = (
    r"(?:kill(?:ing)?|hang(?:ing)?|shoot(?:ing)?|drown(?:ing)?|stab(?:bing)?|poison(?:ing)?|suffocat(?:e|ing)|"
    r"harm(?:ing)?|(?:un)?aliv(?:e|ing)|end(?:ing)?|finish(?:ing)?|off(?:ing)?|top(?:ping)?|neck(?:ing)?) myself"
    r"(?! (?:laughing|over a|in the gym|for that|trying to|tripping|training|with the|from))"
)
_END_MY_LIFE = (
    r"(?:end(?:ing)?|take|taking) my (?:own )?life|(?:end(?:ing)? it all)|(?:commit(?:ting)? |attempt(?:ing)? )suicide|"
    r"do(?:ing)? (?:away with myself|myself in)"
)
_BE_DEAD = (
    r"(?:die|dying|be dead|be dying|dead|stop (?:living|existing|breathing)(?! out)|not exist|never wake up|not wake up|"
    r"be six feet under|sleep forever(?=[.!]*$| and (?:never|not))|bleed out|jump off (?:a|the) (?:bridge|roof|building|cliff)|"
    r"jump in front of|step in front of|throw myself (?:off|under|in front)|slit my|cut my (?:wrists?|throat|veins)|"
    r"blow my brains out|put a bullet in)"
    r"(?! (?:of|for|laughing|inside|with|on this|in this|in the first|my hair|from|than|until|before i|heat|tired|to|cent(?:re|er)|when|peacefully))"
)
_MY_BODY = r"(?:myself|my (?:arms?|wrists?|thighs?|legs?|skin))"
_MEDICINE = r"(?:pills?|tablets?|meds|medication|capsules|paracetamol|aspirin|ibuprofen|antidepressants|insulin|bleach|antifreeze|them all)\b"
_LIVING_ENDS = r"(?:die|dying|be dead|being dead|death|kill(?:ing)? myself|end(?:ing)? (?:it all|my life)|suicide)"
_URGENT_EN = (
    rf"{_NOT_ME}\b{_WISH} (?:just |really |so badly |fucking )*(?:{_BE_DEAD}|{_KILL_MYSELF}|{_END_MY_LIFE})",
    rf"\bi (?:am )?(?:\w+ )?(?:do |did )?{_WISH_NOT} (?:to )?(?:be alive|liv(?:e|ing)|exist)"
    r"(?=$|[ ,.!?;:]*(?:$|anymore|again|and|i |on|one|another|like this|or|because|so|but|if|here|any|past|tonight))"
    r"(?! (?:in|with|at|near|off|on (?:beans|that)|out|abroad|alone|there|here|without|by)\b)(?! anymore (?:in|with|at|here)\b)",
    r"\bi (?:have |had )?(?:been |keep |kept |am |still )?(?:\w+ )?(?:think|thinking|thought|fantasi[sz]e|obsess\w*) "
    rf"(?:\w+ ){{0,3}}?(?:suicide|{_KILL_MYSELF}|{_END_MY_LIFE})",
    r"\bi (?:am|feel|have been|have felt|was|get) (?:\w+ ){0,2}?suicidal\b",
    r"\b(?:suicidal (?:thoughts?|urges?|feelings?|again|af|right now)|my suicide note|suicide is (?:the|my|all))\b",
    r"\bi (?:will|am going to|have decided to|might|could|would|almost|nearly|may|should|am about to|am) "
    rf"(?:just |honestly |\w+ )?(?:{_KILL_MYSELF}|{_END_MY_LIFE})",
    r"\b(?:i would be|i am|me|am) better off dead\b|\bi wish i (?:was|were|had been) (?:dead|never woken)\b",
    r"\b(?:i|me) (?:\w+ ){0,4}?(?:reason|point|will) (?:to|in|why i should|for me to) (?:keep |go on |be |stay )?"
    r"(?:live|living|alive|being alive)\b(?! (?:in|with|at|near|so far|abroad|on|off)\b)",
    r"\b(?:rather|sooner) (?:be dead|not be alive|die)(?:$|[.!]| than (?:go|live|face|be|stay|spend|see|wake))",
    r"^(?:i (?:just )?)?(?:want|am going|am ready|am about|going) to end (?:it|it all|everything)"
    r"(?: all| now| tonight| for good| anymore| for real)*[.! ]*$",
    r"\b(?:let me die|let me be dead|want out of (?:this )?life|ready to (?:die|be dead)|done living|rope myself)\b",
    r"\bi (?:will|am) (?:be )?(?:going to )?(?:be )?dead by (?:tomorrow|tonight|morning|monday|friday|sunday|the)",
    r"\b(?:tired of|hate|sick of) being alive\b.*\b(?:tonight|end|die|stop)\b",
    r"\bi (?:just |have |already |have just )?(?:took|taken|swallowed|downed|drank|drunk) (?:\w+ ){0,3}?"
    r"(?:all (?:of )?(?:my|the|them)|the whole (?:box|bottle|lot)|a (?:whole )?bottle of|too many|(?:forty|fifty|sixty|thirty|\d\d+) )"
    rf"(?=.*\b{_MEDICINE})",
    r"\bi (?:\w+ ){0,3}?(?:cut|cutting|cuts|burn|burning|hurt|hurting|harm|harming|punish|punishing) "
    rf"(?:\w+ )?{_MY_BODY} (?:\w+ ){{0,3}}?(?:again|on purpose|every (?:night|day)|anymore|at night|because i deserve)",
    r"\b(?:started|keep|kept|been|still|stop|stopped|back to|relapsed and|urge to|want to|need to) "
    rf"(?:cut(?:ting)?|hurt(?:ing)?|harm(?:ing)?|burn(?:ing)?) {_MY_BODY}(?! (?:shaving|on|off|with the oven))",
    # "kill myself" in any sentence of the speaker's, unless it goes on as a figure of speech.
    r"\b(?:kill(?:ing)?|hang(?:ing)?|drown(?:ing)?) myself\b(?! (?:laughing|over|in (?:the|a)|for that|trying|tripping|training|with|from|on (?:the|that|my)|at|doing|by|when|off|up))",
    r"\b(?:end|ending|taking|take) my (?:own )?life\b",
    r"\b(?:my (?:own )?suicide|suicide methods?|(?:contemplat\w+|consider\w*|thoughts? of|thinking (?:about|of)|attempt(?:ed)?|planned|planning) suicide)\b",
    r"\bsuicide (?:is|has been|keeps?|was)\b.*\b(?:my mind|my head|for me|only (?:way|option|choice|answer)|way out)\b",
    r"\bhow (?:do|does|should|to|would) (?:\w+ ){0,3}?suicide note\b",
    r"\b(?:beg(?:ging)?|pray(?:ing)?|wish(?:ing)?|crav(?:e|ing)|long(?:ing)?|yearn(?:ing)?) (?:to die|for death|for it to kill me)\b|\bi (?:crave|want|deserve|welcome|long for|look forward to) (?:my )?death\b(?! (?:metal|star|row|valley|note))",
    r"\bi (?:just |really )?(?:should|might as well|ought to|need to|deserve to|must) (?:just |really |probably )?(?:die|be dead|have died)(?=$|[,.!?]| (?:and|because|in that|instead|already|now|tonight|too))",
    r"\b(?:if i (?:was|were) (?:just )?(?:dead|gone for good)|better off (?:if i (?:was|were) dead|dead|in (?:the|a) (?:ground|grave))|worth more dead|happier dead)\b(?! (?:cent|tired))",
    r"\bi (?:am going to|will|shall|might) be dead\b(?=$|[,.!]| (?:soon|before|anyway|by|and)\b(?! (?:the end|lunch)))(?! by lunch)",
    rf"\b(?:easiest|quickest|fastest|painless|best|kindest|surest|nicest|most painless|least painful) (?:way|method)s? (?:of|to|for) (?:just )?{_LIVING_ENDS}(?! (?:in|my hair|on|at)\b)",
    r"\b(?:only|best) (?:way out|thing left|option|choice|answer|solution|relief|escape)(?: \w+){0,3}? (?:is|was) (?:to )?(?:die|dying|death|suicide|be dead|being dead)\b",
    r"\b(?:death|dying|being dead) (?:is|would be|will be|sounds?|seems?|looks?|feels?) (?:\w+ ){0,3}?(?:way out|relief|kindness|nice|peaceful|easier|better|good|sweet|comforting|holiday|quiet|only (?:way|option))\b",
    r"\bways? (?:to|i could|of) (?:die|dying|kill(?:ing)? myself|end(?:ing)? my life)\b(?! (?:in|on|of)\b)",
    r"\b(?:reason|convince me|talk me out|why (?:should|shall|do|would) i) (?:\w+ ){0,4}?(?:not (?:to )?)?(?:kill|killing|end|ending) (?:myself|my life|it all)\b",
    r"\b(?:reason (?:not to|to not|i should not)) (?:die|be dead|do it)\b",
    r"\bi (?:\w+ ){0,2}?hope (?:i|my heart|the plane|a (?:bus|truck|lorry|car)|something|someone|it|this) (?:\w+ ){0,3}?(?:dies?|kills? me|hits me|runs me over|crash(?:es)?|get (?:hit|run over)|never wake|do not wake|gives out|stops?)(?=$|[,.!]| (?:by|with|on|in my sleep|tonight|up|and|before))",
    r"\b(?:tired|sick|done|fed up) (?:of|with) (?:being alive|staying alive|living|being here on earth)(?=$|[,.!?]| (?:and|for|anymore|because|it))",
    r"\b(?:hate|regret) (?:being alive|that i (?:am (?:still )?alive|woke up))\b|\b(?:angry|sad|disappointed|sorry|upset) (?:that|when|because) i (?:am (?:still )?alive|(?:have )?wok\w+ up(?: again)?)(?=$|[,.!])",
    r"\b(?:do|does) not (?:\w+ )?(?:want|wish|belong|deserve) (?:to (?:be|stay|live) )?(?:on|in) this (?:earth|planet|world)\b",
    r"\bi (?:can not|will not|do not|could not) (?:be|stay|keep) (?:safe|alive)\b(?! (?:in|at) (?:this|the) game)|\bi (?:do not|can not) trust myself\b.*\b(?:tonight|alone|knife|knives|pills|myself)\b",
    r"\bi (?:would|could) (?:take|have taken) (?:\w+ ){0,2}?overdose\b|\bi (?:\w+ ){0,3}?(?:take|took|taken|taking|plan(?:ning)?|thinking (?:of|about)) (?:an )?overdos(?:e|ing)\b(?! (?:at|when))|\b(?:want|going|about|plan(?:ning)?) to overdose\b(?! on (?:choc|cake|coffee|sugar|cookie|sun|pizza|caffeine|ice))",
    r"\b(?:i (?:have )?(?:relapsed|selfharm(?:ed)?)|selfharm (?:again|urges?|relapse))\b",
)

# --- Chinese -------------------------------------------------------------------------------------

_SELF_KILLING = (
    "自杀|自尽|自我了断|轻生|寻死|寻短见|结束(?:我|自己)?的?(?:生命|自己(?!的?[^,。生]))|了结(?:自己|这条命|我自己)|杀了?(?:我)?自己|"
    "(?:一了百了|一死了之)|上吊|割腕|跳楼|跳河|跳江|跳轨|跳海|跳下去|吞药|喝农药|烧炭"
)
_URGENT_ZH = (
    r"(?<![不没别怕])(?:想要?|要|打算|准备|决定|计划|考虑|就想|恨不得|试过)"
    rf"(?:马上|现在|今晚|今天|明天|去|就|自己|彻底)*(?:{_SELF_KILLING})",
    r"(?<![不没别])(?:好|真的?|就|只|很|我|一直|老|天天|每天都|总|还是|都在|又|现在|只是|特别|突然|忽然)想(?:去|要)?死"
    r"(?=$|[了啊呢的吧,。.!?！？\s]|去|在|给)(?!了?你|了我妈|了这|的[^念心感])",
    r"^想(?:去)?死(?=$|[啊呢吧,。.!?\s])",
    r"(?:我|真的?|就|都|已经|也|实在|再也|^)(?:[\u4e00-\u9fff]{0,3})不想(?:再|继续)?活(?:了|着|下去|在这个?世)",
    r"^不想(?:再)?活(?:了|着|下去)",
    r"(?<![他她])(?:让|叫|求)(?:我|自己)(?:去)?死(?:吧|了算|掉)|(?:我|干脆|不如|还不如)(?:去)?死(?:了)?(?:算了|得了|好了|痛快)|我去死",
    r"我.{0,8}(?:写好|写完|写|留)了?.{0,3}遗书|遗书.{0,8}(?:写好|写完|改好|发给)|我.{0,4}遗书",
    r"(?:又|还在|忍不住|控制不住|停不下来|一直|经常|天天|每天|偷偷|每晚|故意)(?:都|在|想|要|用.{1,5}|拿.{1,5})*"
    r"(?:自残|自伤|割腕|割手|割自己|划自己|划手|划胳膊|割大腿|伤害自己|烫自己)",
    r"(?:想|要|会)(?:去)?(?:伤害|弄伤|杀死|杀掉)自己(?!的?感情)",
    r"(?:有|出现|产生).{0,4}(?:自杀|轻生|寻死|自残)的?(?:念头|想法|冲动|计划|打算|倾向)",
    r"(?:刚|已经|把).{0,8}(?:药|片|瓶).{0,6}(?:全吞|全吃|都吃|都吞|吞了|吃光)",
    r"我.{0,4}(?:割腕|割了手腕|割了腕)",
    "死了算了|死了就(?:轻松|解脱|好了|什么都不)|一死(?:百|了)了|(?:还)?不如死(?:了|掉)|比死还难受|死是(?:我)?唯一|(?:只有|除了)死|生不如死.{0,4}(?:想|结束)",
    "(?:想着?|在想|琢磨|考虑|告诉我|知道)怎么(?:才能)?(?:去)?死(?!的)|怎么死(?:最|才|会|比较|不)|(?:不痛|不疼|无痛|不痛苦|最快|痛快|舒服)的?死法",
    "吃(?:多少|几片|几瓶).{0,6}(?:会|能|才|可以)死(?!鱼|草)|(?:割|跳)(?:哪里|多深|几楼|多高).{0,4}(?:会|能|才)死",
    "我.{0,5}(?<![你他她它])(?:(?:应该|就该|早?就该|早该|真的要|直接|早点)(?:去)?死|就死)(?=$|[了掉吧啊,。.])(?!了?[你他她])|(?:就|要|真的|想|该)去死(?=$|[了吧啊,。.!])|死给.{1,3}看|想死(?:掉|一死)",
    "^不想活(?:$|[,。!.])|(?:他|她|你)?[,了]?我不想活(?=$|[,。!.])|一点都不想活(?=$|[,。!.])|不想活在这?(?:个)?世",
    "(?:每天|天天|又|总是?|脑子里|深夜|晚上|好像|平静地|累得?)(?:[^,。]{0,4})想死(?=$|[,。!.]|的(?:念头|夜晚|冲动|一天))|想死的?(?:念头|冲动|夜晚)|想死(?:又)?(?:不敢|没勇气)|真的(?:好|很)?想死(?=$|[,。!.])",
    "没死成|^我?(?:昨天|真的|会|要|曾经|也|又|就|差点|今天|再这样下去)*(?:我)?(?:会|就|要|也)*自杀(?:过|的$|了$)|自杀的?(?:念头|想法|冲动)(?!怎么|如何)|不自杀(?:协议|承诺).{0,6}(?:做不到|签不)|我.{0,4}去寻死",
    "(?:要是|如果|假如|等)?我死了(?:以后)?(?:他们|你|大家|会有|也?没人|就不用|才|赔|保险)",
    "遗书(?:一般|怎么|该怎么|要怎么)写|(?:想|要|准备)(?:放弃|结束)(?:我的)?生命|(?:老天|上帝|阎王).{0,4}(?:收了?我|带走我|把我(?:带走|收走))",
    "(?:希望|求|要是|盼着).{0,10}(?:撞死|得(?:个|了)?绝症|别让我醒|(?:别|不要|不)(?:再)?醒(?:来)?(?=$|[,。了])|早点死)|羡慕.{0,6}(?:死|得癌)",
    "(?:今天|必须|还|怎么还|早点|快点|直接)(?:让我)?不?(?:去)?死(?:啊|了好|就好)(?!了?[你他她])",
    r"结束(?:我|自己)的?生命|(?:死|走)了一了百了|活不下去了(?=$|[,。.!?])(?<!没\w{2}活不下去了)",
)

# --- lookalikes ----------------------------------------------------------------------------------

_LOOKALIKES_EN = (
    r"\bto die for\b|\bdying (?:to (?!end|die|kill)\w+|for|of (?:laughter|laughing|boredom|hunger|thirst|embarrassment|shame|curiosity|heat))\b",
    r"\b(?:is|are|was|were|been) (?:\w+ )?killing (?:me|us)\b(?! from)|\bkill(?:ed|s)? for\b|\bkilling (?:it|time)\b|\bkill time\b",
    r"\b(?:bored|scared|worried|tickled|sick|starving|starved|loves? \w+|talks? \w+|worked?|frightened) to death\b",
    r"\bdead (?:tired|right|wrong|serious|beat|heat|end|line|battery|weight|on my feet|good|easy|gorgeous|leg|sea|lift)\b",
    r"\bover my dead body\b|\bdrop dead\b|\bdeath (?:valley|row|metal|star)\b|\bsudden death\b|\bdeadlines?\b|\bdeadlift\b|\bdeadhead\b",
    r"\bsuicide (?:squad|bomb\w*|sprints?|rates?|mission|wings|king|prevention|hotline)\b|\bkill bill\b|\bvirgin suicides\b",
    r"\b(?:die|died|dying|dead) (?:of|from) (?:laugh\w*|embarrass\w*|shame|cring\w*|bored\w*|cute\w*|happiness|curiosity)\b",
    r"\b(?:nearly|almost|could have) died (?:of|when|laughing)\b|\bdie(?:d|s)? laughing\b|\bi died (?:at|when|laughing)\b",
    r"\b(?:going to|will|would) kill me\b|\bkill (?:the )?(?:lights?|process|task|engine|weeds?|spider)\b",
    r"\bkicked? myself\b|\bbeating myself up\b|\bshot myself in the (?:foot|toe)\b|\bcut myself some slack\b",
    # An object or a person after the verb: "end it, this subscription", "ending things with Raj", "cut my finger on".
    r"\b(?:can not|could not) (?:do|take|stand|bear|face|go on with) (?:this|it|that)(?: anymore)?[,.:;]? (?:the|these|this|my|another|with)(?: \w+)?"
    r"(?= )(?! (?:life|world|pain|fight|anymore|is|life anymore|weight|and))",
    r"\b(?:end|ending|ended|finish|stop|quit) (?:it|things|this)[,.:;]? (?:with|this|the|my|at) (?!me\b|myself|life|my life|world|pain|all)\w+",
    r"\b(?:no|any|a) (?:reason|point) (?:to|in) go(?:ing)? (?:on|to|into|in|for|out) (?!living|anymore|with (?:it|life|this))\w+",
    r"\b(?:want|wanted|like|love|have|used|afford|plan) to live (?:in|at|on|with|near|next|by|off|abroad|alone|together|out|closer|there|here|without)\b",
    r"\b(?:can not|could not) live (?:without|in|on|with (?:that|this|the)) (?!pain|myself|me|him|her)(?:\w+ )?\w+",
    r"\b(?:cut|burnt|burned|hurt|hit|scratched|nicked|stabbed|pricked|scalded|banged|bumped|scraped|bit)(?: myself| (?:my|a) \w+)?"
    r" (?:on|shaving|slicing|chopping|while|cooking|peeling|opening|at (?:football|the gym|work)|to (?:bits|ribbons)|off|lifting|moving|ironing|gardening)\b",
    r"\bcut(?:ting)? (?:it|them|everything|all of it|the \w+|some \w+|my (?:hair|nails|toast|lawn)|off|back|down|out)\b",
    r"\bhang (?:up|out|on|the|my|our|about|around|it)\b|\bhung (?:up|out|the|my|our)\b",
    r"\bi (?:am|feel) (?:so |a |such a |pretty |really )*(?:useless|hopeless|failure|worst \w+)(?: \w+)? (?:at|with|as|in the kitchen)\b",
    r"\b(?:wire|phone|battery|laptop) (?:is )?(?:died|dead|dying|about to die|going to die)\b",
)
_LOOKALIKES_ZH = (
    "《[^》]{1,20}》",
    "(?:笑|饿|热|冷|累|困|气|急|烦|吓|尴尬|高兴|撑|渴|疼|可爱|羡慕|无聊|丑|忙|堵|馋|酸|甜|香|吵|挤|晒|痒|乐|美|心疼|后悔|郁闷|紧张|担心|爱|难看|丢|辣|咸|跑|练|帅|穷|臭|痛|磨|咬|烫)"
    "死(?:了|我了?|宝宝了?|人了?|你了?|个人)",
    "想死(?:你|你们|我妈|我爸|他|她|这|那|家|海|奶奶|外婆|老家)(?:了)?|死(?:党|磕|心眼|脑筋|机|工资|线|海|皮|鸭子|记硬背|角落|循环|锁|胡同)|"
    "死也(?:不|要|得)|打死(?:我|他)?也|拼死|死而无憾|死马当|社死|当场去世|原地去世|原地升天",
    "自杀(?:小队|式|率|森林|专卖店|俱乐部|预防|干预)|跳楼(?:价|机|大甩卖)|安乐死|狼人杀|剧本杀|紫砂(?:壶|茶|泥|锅|杯)|仓鼠|老鼠|松鼠|鼠标",
    "没(?:有)?[^,。我他]{1,8}(?:我|我可|真的?|就|可)*(?:活不下去|活不了|没法活|没法过|不能活)|怎么活$",
    "不想活(?:在|成|得)|活(?:得|在)别人|一天(?:都|也)不想(?:干|上班|待|做|住)|(?:游戏|手机|电脑|车子?|项目|进程)(?:里)?(?:又|就|全|都)?死",
    "要命|没命地|(?:得|的)要死|(?:得|的)半死|要我命|人没了(?=[,。!哈])",
)
_DENIALS = (
    r"\b(?:not|never|no|without|hardly) (?:\w+ ){0,4}?(?:suicid\w+|(?:kill|killing|hurt|hurting|harm|harming|cut|cutting) myself|"
    r"die|dying|be dead|(?:end|ending|take|taking) my (?:own )?life)\b(?! without)",
    r"\b(?:used|wanted) to (?:want to |be |think of )?(?:die|be dead|suicidal|kill myself)\b(?= (?:back|then|once|and now|as a)|[,.] (?:now|these))",
    "(?:不会|没有|没|不是|从没|从来没|绝不|不)(?:要|想过?|再|真的?|打算|有)*(?:自杀|轻生|自残|伤害自己|做傻事|想不开|寻死|死)(?!的勇气|了|成)",
    "(?:谁说|以为|听说|怕)(?:我|他|她)?(?:要|想|会|不)*(?:活|死|跳楼|自杀|跳)",
)
# Words on a stage, in a book or a game, of an animal, or at work, are perhaps not the speaker's own.
_QUOTED = (
    r"\b(?:song|album|lyrics?|line|lines|film|movie|book|novel|play|scene|character|actor|season|episode|opera|script|parrot|"
    r"boss fight|level|respawn|potion|health|teammates?|minecraft|fortnite|patients?|pupils?|clients?|counsell?or|"
    r"hotline volunteer|documentary|coroner|plot|hero|embarrass\w*|encore)\b|^as an? \w+[, ]|^i am a \w+,|\b(?:tried|wanted|used) to\b.*\b(?:ago|at \w+|back then|when i was)\b.*\btoday\b|\byears? ago i (?:wanted|tried)\b|\bwhat does .* mean\b|\basked (?:me )?if i\b|\bsilly question\b|\bmy (?:thesis|paper|talk|essay)\b",
    '[《“"]|剧本|小说|台词|我演|电影|角色|歌词|这关|队友|boss|回城|复活|鹦鹉|我是.{1,8}(?:员|师|医生|护士)|哈哈(?!.{0,8}(?:其实|真的|好像))|论文|学生|来访者|社工|志愿者|辅导|病人|患者|复诊|女主|男主|体重秤|同学|邻居|新闻',
)


def signs(text: str) -> list[str]:
    """Return the names of the patterns that normalised `text` matches: what hints at distress, denies it or quotes it.

    The learned score weighs them: "on a bridge" alone says little, with a goodbye it says much.
    """
    text, denials = _DENIAL.subn("~", text)
    found = [name for name, pattern in _signs()[language_of(text) == "zh"].items() if pattern.search(text)]
    return found + ["denied"] * bool(denials) + ["quoted"] * bool(_QUOTE.search(text))


def hide_lookalikes(text: str) -> str:
    """Return `text` with figures of speech and titles, such as "to die for" or 《自杀小队》, replaced by "~"."""
    return _LOOKALIKE.sub("~", text)


def says_self_harm(text: str) -> bool:
    """Whether normalised `text` says in so many words that the speaker wants to die or harms themselves."""
    text = _DENIAL.sub("~", text)
    return not _QUOTE.search(text) and any(pattern.search(text) for pattern in _URGENT)


@cache
def _signs() -> tuple[Mapping[str, re.Pattern[str]], Mapping[str, re.Pattern[str]]]:
    """The patterns of `signs.json` by name, English and Chinese."""
    table = json.loads((Path(__file__).parent / "signs.json").read_text(encoding="utf-8"))
    english, chinese = (
        {name: re.compile(pattern) for name, pattern in table[language].items()} for language in ("en", "zh")
    )
    return english, chinese


_LOOKALIKE = re.compile("|".join((*_LOOKALIKES_EN, *_LOOKALIKES_ZH)))
_DENIAL = re.compile("|".join(_DENIALS))
_QUOTE = re.compile("|".join(_QUOTED))
_URGENT = tuple(re.compile(pattern) for pattern in (*_URGENT_EN, *_URGENT_ZH))
