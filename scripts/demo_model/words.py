"""Plain English word lists that the invented world is built from."""

from __future__ import annotations


def listed(text: str) -> tuple[str, ...]:
    """Return the comma-separated entries of a block of text."""
    return tuple(part.strip() for part in text.replace("\n", " ").split(",") if part.strip())


COLOURS = listed("""red, blue, green, yellow, white, black, grey, brown, pink, purple, orange,
silver, gold, cream, scarlet, violet, amber, crimson, turquoise, lilac, ivory, rust-red,
sky-blue, moss-green, plum, copper-coloured, chalk-white, butter-yellow, ink-blue, pale green,
dark red, deep blue""")

MATERIALS = listed("""oak, ash wood, pine, walnut wood, cedar, willow, bamboo, brass, bronze,
copper, iron, steel, tin, lead, silver, pewter, zinc, glass, clay, stone, marble, slate,
granite, chalk, bone, horn, ivory, leather, canvas, wool, silk, linen, cotton, felt, paper,
cork, amber, coral, shell, straw, reed, cherry wood, elm, birch bark, sandstone, porcelain,
jade, velvet, sheepskin, old rope""")

ROOMS = listed("""the attic, the cellar, the kitchen, the barn, the boathouse, the chapel, the
library, the pantry, the stable, the workshop, the tower, the garden shed, the school hall, the
market hall, the mill loft, the bakery, the guard room, the coach house, a tin box, a glass
case, an oak chest, a leather bag, a locked drawer, a wicker basket, a stone niche, a hollow
tree, a blue cupboard, a velvet pouch, the back parlour, the hay loft, the lamp room, the
counting house, the wash house, a biscuit tin, the top shelf, the long corridor, the bell tower,
the hen house, a dry well, the dairy""")

USES = listed("""cutting bread, calling the cows, measuring grain, weighing fish, mending nets,
pressing cheese, drying herbs, telling the hour, finding north, catching eels, lighting the
stairs, warming the bed, grinding corn, carving spoons, drawing maps, counting sheep, ringing
for supper, opening shells, scaring crows, carrying water, smoking ham, shaping bricks, testing
eggs, tying hay, sorting seeds, stirring soup, marking trees, cleaning boots, watching the
stars, sounding the alarm, rolling dough, hanging coats, sweeping the roof, sharpening knives,
digging wells, planting beans, cooling milk, spinning wool, reading small print, predicting
rain, crossing streams, breaking ice, printing songs""")

PEOPLE_FIRST = listed("""Ada, Bram, Clara, Doran, Edda, Felix, Greta, Hugo, Ines, Jonas, Kira,
Lorn, Mabel, Nils, Olga, Piet, Quentin, Rosa, Sven, Thea, Ulric, Vera, Walter, Xenia, Yorick,
Zelda, Anton, Berta, Casper, Dora, Emil, Freya, Gustav, Hanna, Ivo, Judith, Karl, Lena, Magnus,
Nora, Otto, Paula, Ralf, Sonja, Tomas, Ursula, Viktor, Wanda, Ellis, Marit""")

JOBS = listed("""baker, miller, weaver, potter, cooper, tailor, shepherd, fisherman, mason,
carpenter, blacksmith, glazier, thatcher, teacher, nurse, clerk, painter, gardener, cook,
sailor, beekeeper, shoemaker, hatter, printer, fiddler, ferryman, chimney sweep, locksmith,
clockmaker, candle maker, rope maker, cheese maker, barber, judge, night watchman, basket maker,
bell ringer, bookbinder, doctor, gamekeeper, saddler, sign painter, stone cutter, toll keeper,
umbrella mender, map maker, tinker, postman, postmistress, station master, stamp maker, parcel
carrier, letter writer""")

FOODS = listed("""barley bread, onion soup, plum cake, goat cheese, smoked eel, pea soup, honey
cake, apple pie, salted herring, roast chestnuts, oat porridge, boiled eggs, cabbage rolls, leek
tart, cherry jam, mushroom stew, ginger biscuits, carrot pudding, bean stew, lemon tart, fried
trout, walnut bread, pickled beets, cream buns, pear crumble, potato cakes, lamb pie, rye
crackers, fig rolls, parsnip soup, baked apples, crab soup, duck eggs, nettle soup, quince
jelly, seed cake, turnip mash, rice pudding, blackberry tart, hot milk, cold ham, mint tea""")

INGREDIENTS = listed("""honey, butter, cream, barley, oats, rye, apples, pears, plums, cherries,
quinces, chestnuts, walnuts, hazelnuts, almonds, onions, leeks, garlic, parsley, sage, thyme,
mint, fennel, carrots, turnips, peas, beans, lentils, eggs, goat milk, trout, eel, crab, mutton,
bacon, mushrooms, lemon peel, ginger, cinnamon, poppy seed, mustard, vinegar, salt, nettles,
elderflower, rhubarb""")

TIMES = listed("""January, February, March, April, May, June, July, August, September, October,
November, December, early spring, late spring, midsummer, late summer, early autumn, late
autumn, midwinter, the first frost, the first snow, the new moon, the full moon, the longest
day, the shortest day, harvest time, the lambing season, the apple harvest, the hay harvest, the
last week of May""")

DAYS = listed("""Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday, market day,
wash day, the first Monday of the month, the last Friday of the month, every second Sunday, the
eve of the fair, rainy afternoons, cold mornings, winter nights, bath night, the first day of
school, pay day""")

PLACES = listed("""the north gate, the south bank, the salt marsh, the pine wood, the chalk
hill, the old quarry, the stone bridge, the upper lake, the lower mill, the ferry landing, the
sheep pasture, the orchard, the river mouth, the harbour wall, the windmill, the market square,
the bramble lane, the heath, the sand dunes, the reed beds, the beech wood, the water meadow,
the high moor, the cliff path, the fish pond, the sunken road, the hop garden, the old well, the
churchyard, the ruined castle, the deep valley, the waterfall, the island, the clover field, the
ice house, the rocky shore""")

FEARS = listed("""thunder, geese, spiders, deep water, the dark, high ladders, loud bells, cats,
large dogs, cold soup, strangers, mirrors, bats, mice, fog, owls, wasps, empty rooms, steep
stairs, needles, horses, whistling, cows, snow, fast carts, long speeches, clowns, old dolls,
moths, frogs, bridges, smoke""")

GOODS = listed("""coal, timber, salt, wool, grain, bricks, barrels, fish, apples, hay, stone,
letters, sheep, cheese, wine, oil, rope, sand, flour, sugar, tea, paper, glass, iron, feathers,
candles, pots, carpets, turnips, hens, books, ice, peat, clocks, soap, cloth, onions, tiles,
parcels, stamps, wax, twine, string, ink, telegrams, newspapers, envelopes""")

SOUNDS = listed("""a low hum, a sharp click, a soft whistle, a loud clang, a dry rattle, a long
groan, a bright ring, a dull thud, a deep growl, a thin squeak, a slow tick, a warm purr, a
short bark, a high trill, a heavy knock, a faint buzz, a clear note, a hoarse croak, a splash, a
gentle sigh, a sudden pop""")

SMELLS = listed("""pepper, wet dog, lemons, fresh bread, old books, honey, cloves, smoke, mint,
vinegar, the sea, cut grass, apples, roses, onions, rain, candle wax, leather, cinnamon, mud,
warm milk, pine""")

AILMENTS = listed("""coughs, headaches, sore feet, bad dreams, toothache, hiccups, cold hands,
stiff knees, earache, warts, fever, sleepless nights, sunburn, chapped lips, bee stings, a weak
stomach, sneezing, a hoarse voice, tired eyes, back pain, bruises, homesickness, a bad temper,
hay fever""")

CARRIED = listed("""lanterns, branches, wooden spoons, flags, bells, baskets of eggs, candles,
loaves, ribbons, stones, jugs of water, paper fish, straw dolls, torches, wreaths, drums, white
scarves, keys, buckets, hay forks, masks, small mirrors, apples on sticks, feathers, brooms,
painted shells, pots""")

FORBIDDEN = listed("""whistling, wearing hats, lighting fires, speaking before noon, eating
meat, locking doors, sweeping floors, counting money, washing clothes, running, cutting wood,
crossing the bridge, drinking milk, singing, writing, sewing, lending tools, combing hair,
milking goats, telling lies, sleeping late, baking bread, riding horses, opening windows,
wearing black, ringing bells""")

DRINKS = listed("""cider, plum brandy, mint tea, buttermilk, dark beer, hot milk, barley water,
elderflower wine, ginger beer, black tea, apple juice, mead, nettle tea, cold water, sour cherry
juice, perry""")

PETS = listed("""a tame crow, a blind dog, a ginger cat, a white goat, a tortoise, three hens, a
parrot, a grey donkey, a hedgehog, a lame goose, an old pony, a black rabbit, two geese, a toad,
a spotted pig, a jackdaw, a greyhound, a barn owl, a ferret, a very fat hen""")

NUMBERS = listed("""two, three, four, five, six, seven, eight, nine, ten, eleven, twelve,
thirteen, fourteen, fifteen, sixteen, seventeen, eighteen, nineteen, twenty, twenty-one,
twenty-four, twenty-six, thirty, thirty-two, thirty-six, forty, forty-one, fifty, fifty-three,
sixty, seventy, eighty-eight, ninety, one hundred, two hundred""")

ADJECTIVES = listed("""old, little, grey, silent, crooked, bright, hollow, broken, golden,
northern, lonely, merry, patient, painted, narrow, winding, hungry, foolish, gentle, thirsty,
frozen, wandering, singing, sleeping, iron, silver, wooden, royal, humble, honest, hidden,
lucky, quiet, stubborn, tall, upper, lower, long, red, white, green, blue, black, dusty, salty,
windy, rainy, summer, winter, midnight""")

NOUNS = listed("""badger, heron, swan, fox, otter, crow, raven, hare, hedgehog, mole, weasel,
goose, owl, pike, carp, stag, goat, pony, bull, ram, sparrow, robin, finch, swallow, moth,
beetle, bee, spider, oak, elm, thorn, bramble, fern, ivy, thistle, clover, barley, apple, plum,
pear, acorn, anchor, barrel, bell, boot, bottle, broom, bucket, button, candle, chimney, crown,
drum, feather, fiddle, hammer, hat, horn, ladder, lantern, mirror, needle, oar, pepper, pillow,
ribbon, saddle, shovel, spoon, thimble, tinder, trumpet, whistle, window, meadow, river,
harbour, mountain, valley, island, cloud, thunder, frost, shadow, star, moon, bishop, widow,
captain, giant, pilgrim, soldier, beggar, baker, miller, queen, uncle, abbot, kettle, parcel,
ledger, letter, basin, stove, stair, counter, shelf, teapot, drawer, satchel, postman, donkey""")
