"""Puts scenes of shapes into words, in many ways."""

from palette import plural
from shapes import Object, Scene

NUMBERS = {2: "two", 3: "three", 4: "four"}


def article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def noun(rng, o: Object, many: bool = False) -> str:
    shape = {"crescent": rng.choice(["crescent", "crescent", "crescent moon"]),
             "oval": rng.choice(["oval", "oval", "ellipse"]),
             "ring": "ring"}.get(o.shape, o.shape)  # fmt: skip
    shape = plural(shape) if many else shape
    size = {"large": rng.choice(["large", "large", "big"]), "small": rng.choice(["small", "small", "tiny", "little"])}.get(o.size, "")
    words = " ".join(word for word in (size, o.colour, shape) if word)
    if o.turn:
        where = {"right": "right", "left": "left", "up": "up", "down": "down"}[o.turn]
        words += f" pointing {where}"
    return words


def ground_words(rng, g: dict) -> str:
    first, second = g["colour"], g.get("second", "")
    match g["style"]:
        case "plain":
            if rng.random() < 0.12:
                return f"plain {first} background"
            return f"{first} background"
        case "gradient":
            return rng.choice([f"{first} to {second} gradient background", f"gradient background from {first} to {second}", f"{first} and {second} gradient"])
        case "stripes":
            return f"{first} and {second} {rng.choice(['striped', 'horizontally striped'])} background"
        case "bars":
            return f"{first} and {second} vertically striped background"
        case "checks":
            return f"{first} and {second} {rng.choice(['checkered', 'checked'])} background"
        case "dots":
            return f"{second} background with {first} dots"
    raise ValueError(g["style"])


PLACE_WORDS = {
    "left": ["on the left", "on the left side", "at the left"],
    "right": ["on the right", "on the right side", "at the right"],
    "top": ["at the top", "on top"],
    "bottom": ["at the bottom"],
    "center": ["in the center", "in the middle", "in the centre"],
}


def place_words(rng, place: str) -> str:
    if place in PLACE_WORDS:
        return rng.choice(PLACE_WORDS[place])
    return rng.choice([f"in the {place}", f"in the {place} corner", f"at the {place}"])


def subject(rng, scene: Scene) -> str:
    objects = scene.objects
    match scene.layout:
        case "one":
            words, place = noun(rng, objects[0]), scene.facts["place"]
            if place != "center" or rng.random() < 0.15:
                words += " " + place_words(rng, place)
            return article(words)
        case "count":
            return f"{NUMBERS[scene.facts['count']]} {noun(rng, objects[0], True)}"
        case "pair":
            first, second = (article(noun(rng, o)) for o in objects)
            relation = scene.facts["relation"]
            if relation == "left":
                # The order of "and" is the order of reading.
                joined = ["to the left of", "left of", "and", "next to", "beside"]
            else:
                joined = {"right": ["to the right of", "right of"], "above": ["above", "over"], "below": ["below", "under"]}[relation]
            return f"{first} {rng.choice(joined)} {second}"
        case "inside":
            outer, inner = (article(noun(rng, o)) for o in objects)
            return rng.choice([f"{inner} inside {outer}", f"{outer} with {inner} inside", f"{inner} in {outer}"])
        case "three":
            a, b, c = (article(noun(rng, o)) for o in objects)
            if scene.facts["upright"]:
                return rng.choice([f"{a} above {b} above {c}", f"{a}, {b} and {c} from top to bottom"])
            return rng.choice([f"{a}, {b} and {c}", f"{a}, {b} and {c} in a row"])
        case "group":
            many = f"{NUMBERS[scene.facts['count']]} {noun(rng, objects[0], True)}"
            other = article(noun(rng, objects[-1]))
            if rng.random() < 0.3:
                flipped = {"above": "below", "below": "above"}[scene.facts["relation"]]
                return f"{other} {flipped} {many}"
            return f"{many} {scene.facts['relation']} {other}"
    raise ValueError(scene.layout)


def plain(rng, scene: Scene) -> str:
    """The straightforward sentence, background named."""
    return f"{subject(rng, scene)} on {article(ground_words(rng, scene.ground))}"


QUIET = ("white", "beige", "light blue", "light green")


def caption(rng, scene: Scene) -> str:
    words, ground = subject(rng, scene), ground_words(rng, scene.ground)
    roll = rng.random()
    # Only a quiet background goes unnamed, so that a bare prompt gets one.
    quiet = scene.ground["style"] == "plain" and scene.ground["colour"] in QUIET
    if quiet and roll < 0.35:
        bare = words.removeprefix("an ").removeprefix("a ")
        return polish(rng, bare if rng.random() < 0.5 else words)
    if "gradient" in ground and not ground.endswith("background") or roll < 0.66:
        text = f"{words} on {article(ground)}"
    elif roll < 0.76:
        text = f"{words} {rng.choice(['against', 'with', 'in front of'])} {article(ground)}"
    elif roll < 0.84:
        text = f"{words}, {ground}"
    elif roll < 0.92:
        text = f"{words.removeprefix('an ').removeprefix('a ')} on {ground}"
    else:
        text = f"on {article(ground)}, {words}"
    return polish(rng, text)


LEADS = ["a picture of", "an image of", "a drawing of", "a simple picture of", "an illustration of", "a flat illustration of", "draw", "show"]  # fmt: skip


def polish(rng, text: str) -> str:
    """What people do to a sentence before they send it."""
    if rng.random() < 0.12:
        text = f"{rng.choice(LEADS)} {text}"
    if rng.random() < 0.12:
        text = text[0].upper() + text[1:]
    if rng.random() < 0.12:
        text += "."
    return text
