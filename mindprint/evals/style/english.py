"""English function words: the small words that are chosen by habit and not by subject."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


GRAMMAR = _words("""
    i me my mine myself you your yours yourself yourselves he him his himself she her hers herself
    it its itself we us our ours ourselves they them their theirs themselves one oneself
    who whom whose which what whoever whatever whichever this that these those
    somebody someone something anybody anyone anything nobody none nothing everybody everyone
    everything
    a an the each every either neither another such
    about above across after against along amid among around as at before behind below beneath
    beside besides between beyond by concerning despite down during except for from in inside into
    like near of off on onto out outside over past per regarding round since through throughout
    till to toward towards under underneath until unto up upon via with within without
    and but or nor so yet if because although though unless while whilst whereas whether than
    lest provided when whenever where wherever why how
    am is are was were be been being have has had having do does did doing done can could may might
    must shall should will would ought need dare used
    not n't no yes
    i'm i've i'd i'll you're you've you'd you'll he's he'd he'll she's she'd she'll it's it'd it'll
    we're we've we'd we'll they're they've they'd they'll that's that'd that'll there's there'd
    there'll here's who's who'd who'll what's where's when's how's let's one's
    isn't aren't wasn't weren't haven't hasn't hadn't don't doesn't didn't can't cannot couldn't
    mayn't mightn't mustn't shan't shouldn't won't wouldn't oughtn't needn't ain't tis twas
""")
"""Pronouns, determiners, prepositions, conjunctions, auxiliaries: left standing always."""

HABITS = _words("""
    all any both few fewer less least many more most much several some enough little lot lots plenty
    again ago ahead almost alone already also altogether always anyway anywhere apart aside away
    back barely else elsewhere even ever everywhere far forth further hardly hence here
    however indeed instead just later likewise maybe meanwhile merely moreover mostly namely nearly
    nevertheless never next nonetheless now nowhere often once only otherwise own perhaps quite
    rather really same scarcely seldom simply sometimes somehow somewhat somewhere soon still then
    thence there thereby therefore thus together too twice usually very well whence
    ah aye alas oh o please
""")
"""Common adverbs, quantifiers and particles: left standing unless they belong to a topic."""

WORDS = GRAMMAR | HABITS
