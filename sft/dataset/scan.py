"""Scanning a byte range of a dataset file: what every row breaks, and the facts of the good ones.

Two ways that agree (a test compares them): blocks of rows that a typed decoder takes whole, with the texts checked
column by column; and row by row, wherever a block has anything unusual, or images are to be looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from operator import add

from sft.dataset import rows, texts
from sft.dataset.answered import own_answers
from sft.dataset.columns import plain_rows
from sft.dataset.coverage import coverage
from sft.dataset.digests import PICTURE, document_key, key_of, line_hash, question_key, row_digest
from sft.dataset.facts import PARTS
from sft.dataset.images import Folder, ImageFacts
from sft.dataset.lines import Block
from sft.dataset.parts import Options, Part
from sft.dataset.rules import MAX_LINE
from sft.dataset.tasks import task_of, undeclared
from sft.dataset.tokens import MARKS, TEMPLATE, TEMPLATE_MOST
from sft.notation import spotting

_FIRST_TURN = (0,)


class Scanner:
    """Takes blocks and gathers what it finds in ``part``."""

    def __init__(self, options: Options, folder: Folder) -> None:
        self.options = options
        self.part = Part()
        self._folder = folder
        self._xxh = line_hash() if not options.images else None
        asked = options.limits.exact and not options.off.issuperset(("character-bytes", "character-lost"))
        self._covered = coverage(options.limits.tokenizer) if asked else None

    def block(self, block: Block) -> None:
        """Check the lines of a block."""
        part = self.part
        part.bytes += len(block.data)
        if self.options.judges:
            for number, said in own_answers(block, self.options.form, self.options.judges):
                self._add("own-answer", number, said)
        if block.overlong or not self._whole(block):
            lines = [block.data] if block.overlong else block.lines()
            for number, line in enumerate(lines, block.first):
                self._line(number, line, block.overlong)
            part.lines += len(lines)

    def _whole(self, block: Block) -> bool:
        """Take the block as a whole; False where a row of it needs a closer look."""
        lines = block.lines()
        plain = plain_rows(block.data, lines, self.options.form) if len(block.data) <= MAX_LINE else None
        if plain is None:
            return False
        prompts, answers, names = plain
        kinds = Counter(prompts)
        if self.options.form == "messages":
            if any(prompt.count(rows.IMAGE_MARK) != 1 for prompt in kinds):
                return False
            prompts = [prompt.replace(rows.IMAGE_MARK, "") for prompt in prompts]
            kinds = Counter(prompts)
        if not all(answers) or any(map(str.isspace, answers)) or not all(prompt.strip() for prompt in kinds):
            return False
        lengths = list(map(len, answers))
        # A token is at least one byte, and a character four at most.
        characters, spare, limits = max(lengths) + max(map(len, kinds)), TEMPLATE_MOST + MARKS, self.options.limits
        longest = 4 * characters + spare
        if longest + limits.largest_image > limits.max_seq_len and "".join((*answers, *kinds)).isascii():
            longest = characters + spare
        if longest > limits.max_seq_len:
            return False  # only then can a row be too long
        if self.options.images:
            if not self._pictures(block, prompts, answers, names, longest):
                return False
        else:
            assert self._xxh is not None
            self.part.text_tokens += self._tokens(_size(answers))
            self.part.digests += b"".join(map(self._xxh, lines))
        part = self.part
        images = len(lines) if self.options.form == "messages" else 0
        if texts.may_breach(block.data, kinds.keys(), answers, min(lengths), images):
            covered = self._covered is None or self._covered.is_covered("".join((*answers, *kinds)))
            for number, (prompt, answer) in enumerate(zip(prompts, answers), block.first):
                self._texts(number, rows.Sample((), ((prompt, answer),)), covered)
        part.lines += len(lines)
        part.rows += len(lines)
        part.images += len(lines)
        part.lengths.update(lengths)
        for prompt, count in kinds.items():
            part.tasks[task_of(prompt, self.options.tasks).name] += count
        part.places.extend(range(block.first, block.first + len(lines)))
        return True

    def _pictures(
        self, block: Block, prompts: Sequence[str], answers: Sequence[str], names: Sequence[str], longest: int
    ) -> bool:
        """Look at the images of plain rows and count what follows from them; False where one breaks a rule, or may
        make its row too long: nothing is counted then.
        """
        found: list[ImageFacts] = []
        for result in map(self._folder.inspect, names):
            if not isinstance(result, ImageFacts):
                return False
            found.append(result)
        part, limits = self.part, self.options.limits
        shapes = [fact[:2] for fact in found]
        sizes = Counter(shapes)
        cost = {shape: limits.image_tokens(*shape) for shape in sizes}
        if longest + limits.largest_image > limits.max_seq_len:
            most = max(limits.most_image_tokens(*shape) for shape in sizes)
            if longest + most > limits.max_seq_len:
                return False
        pictures = [cost[shape] for shape in shapes]
        texts = self._estimates(prompts, answers)
        part.text_tokens += sum(texts)
        part.image_tokens += sum(pictures)
        part.tokens.update(map(add, texts, pictures))
        for (width, height), count in sizes.items():
            part.widths[width] += count
            part.heights[height] += count
        part.digests += b"".join(
            row_digest((turn,), [fact.sha256], _FIRST_TURN) for turn, fact in zip(zip(prompts, answers), found)
        )
        if self.options.bounds.content:
            part.questions += b"".join([key_of(f"{fact.sha256}\0{p}") for p, fact in zip(prompts, found)])
        if self.options.documents:
            root = self._folder.root
            part.documents += b"".join([document_key(root, name) for name in names])
        shrunk = limits.shrunk
        for number, fact in enumerate(found, block.first):
            if fact.sha256 or fact.odd or fact.warnings or fact.width * fact.height > shrunk:  # else nothing to say
                self._odd(number, fact)
                self._picture(number, fact)
        return True

    def _odd(self, number: int, fact: ImageFacts) -> None:
        self.part.odd += fact.odd
        for rule, value in fact.warnings:
            self._add(rule, number, value)

    def _picture(self, number: int, fact: ImageFacts) -> None:
        """Is much of an image lost; and its content's key."""
        width, height, sha256 = fact[:3]
        limits = self.options.limits
        if width * height > limits.shrunk:
            kept = limits.max_pixels / (width * height)
            self._add("image-shrunk", number, f"{width} × {height}: {100 * kept:.0f} % of the pixels")
        if sha256:
            self.part.pictures += bytes.fromhex(sha256[: 2 * PICTURE])
            self.part.picture_places.append(number)

    def _tokens(self, size: int) -> int:
        """About as many tokens as ``size`` bytes of text become (see ``Limits.text_bytes``)."""
        return 100 * size // self.options.limits.text_bytes

    def _estimates(self, prompts: Sequence[str], answers: Sequence[str]) -> list[int]:
        """The same for each row of one turn, with the template's tokens."""
        if "".join(answers).isascii() and all(map(str.isascii, set(prompts))):
            sizes = map(add, map(len, prompts), map(len, answers))
        else:
            sizes = map(_size, zip(prompts, answers))
        text_bytes = self.options.limits.text_bytes
        return [100 * size // text_bytes + TEMPLATE for size in sizes]

    def _line(self, number: int, line: bytes, overlong: bool) -> None:
        if overlong or len(line) > MAX_LINE:
            self._add("line-size", number, f"{MAX_LINE} bytes or more")
            return
        if not line.strip():
            return
        form = self.options.form
        sample = rows.decode(line, form)
        if sample is None:
            for rule, value in _explain(line, form):
                self._add(rule, number, value)
            return
        if line.count(b'":') != _keys(sample, form, line) and (twice := rows.duplicate_keys(line)):
            self._add("duplicate-key", number, ", ".join(twice))
            return
        facts = self._images(number, sample)
        if facts is not None:
            self._texts(number, sample)
            self._count(number, line, sample, facts)

    def _images(self, number: int, sample: rows.Sample) -> list[ImageFacts] | None:
        """The facts of the row's images; None where one breaks a rule."""
        if not self.options.images:
            return []
        found: list[ImageFacts] = []
        for name, _ in sample.images:
            result = self._folder.inspect(name)
            if not isinstance(result, ImageFacts):
                self._add(result[0], number, result[1])
                continue
            found.append(result)
            self._odd(number, result)
        return found if len(found) == len(sample.images) else None

    def _texts(self, number: int, sample: rows.Sample, covered: bool = False) -> None:
        options = self.options
        for rule, value in texts.breaches(sample, options.tasks, places=options.limits.places):
            self._add(rule, number, value)
        for turn, (prompt, answer) in enumerate(sample.turns, 1):
            for text, name in ((prompt, "prompt"), (answer, "answer")):
                if self._covered and not covered:
                    for rule, value in self._covered.breaches(text, f"{name} {turn}"):
                        self._add(rule, number, value)
            if options.limits.enlarges != 1 and spotting.has_tokens(answer):
                self._add("place-augmented", number, spotting.tokens_of(answer, 40))
            if (said := undeclared(prompt, options.tasks)) is not None:
                self._add("prompt", number, said)

    def _count(self, number: int, line: bytes, sample: rows.Sample, facts: list[ImageFacts]) -> None:
        part, limits = self.part, self.options.limits
        part.rows += 1
        part.images += len(sample.images)
        part.tasks[task_of(sample.turns[0][0], self.options.tasks).name] += 1
        part.lengths[len(sample.answer)] += 1
        part.places.append(number)
        if self._xxh is not None:
            part.digests += self._xxh(line)
        else:
            places = [turn for _, turn in sample.images]
            part.digests += row_digest(sample.turns, [fact.sha256 for fact in facts], places)
            if self.options.bounds.content:
                part.questions += question_key([p for p, _ in sample.turns], [fact.sha256 for fact in facts])
            if self.options.documents:
                part.documents += document_key(self._folder.root, sample.images[0][0])
        pictures = 0
        for fact in facts:
            part.widths[fact.width] += 1
            part.heights[fact.height] += 1
            pictures += limits.image_tokens(fact.width, fact.height)
            self._picture(number, fact)
        size = _size([text for turn in sample.turns for text in turn])
        estimate = self._tokens(size) + TEMPLATE * len(sample.turns)
        part.text_tokens += estimate
        part.image_tokens += pictures
        part.tokens[estimate + pictures] += 1
        spare = TEMPLATE_MOST * len(sample.turns) + MARKS * len(facts)
        if size + spare + limits.largest_image * len(facts) > limits.max_seq_len:  # a token is at least one byte
            most = sum(limits.most_image_tokens(fact.width, fact.height) for fact in facts)
            if size + spare + most > limits.max_seq_len:
                self._check_length(number, sample, facts, pictures, most)

    def _check_length(
        self, number: int, sample: rows.Sample, facts: list[ImageFacts], pictures: int, enlarged: int
    ) -> None:
        """Does the row fit the sequence, also when the trainer enlarges its images from ``pictures`` tokens?"""
        limits = self.options.limits
        texts, room = limits.row_tokens(sample.turns, len(facts)), limits.max_seq_len
        total, most = texts + pictures, texts + enlarged
        if not limits.exact:
            if most > room:
                self._add("tokens-estimate", number, f"up to {most} tokens, {enlarged} of them the image's, of {room}")
        elif total > room:
            self._add("tokens", number, f"{total} tokens, {pictures} of them the image's, of {room}")
        elif most > room:
            kept = 1.0
            for fact in facts:
                others = total - limits.image_tokens(fact.width, fact.height)
                kept *= 1 - limits.left_out(fact.width, fact.height, room - others)
            self.part.enlarged += round(PARTS * (1 - kept))
            often = f"in {100 * (1 - kept):.0f} % of the passes" if kept < 1 else "hardly ever"
            self._add("tokens-enlarged", number, f"{total} tokens, up to {most} of {room}: left out {often}")

    def _add(self, rule: str, number: int, value: str) -> None:
        if rule not in self.options.off:
            self.part.add(rule, number, value, self.options.shown)


def _size(texts: Iterable[str]) -> int:
    """Bytes of UTF-8."""
    joined = "".join(texts)
    return len(joined) if joined.isascii() else len(joined.encode("utf-8", "surrogatepass"))


def _keys(sample: rows.Sample, form: rows.Format, line: bytes) -> int:
    """How often a row of known keys only says ``":``."""
    if form == "messages":
        return 2 + 4 * len(sample.turns)
    return 2 + 4 * len(sample.turns) + len(sample.images) + line.count(b'"matched_text_index"')


def _explain(line: bytes, form: rows.Format) -> list[rows.Breach]:
    other = rows.detect(line)
    if other not in (form, None):
        return [("format", f"a row in format {other} in a file of {form}")]
    return rows.breaches(line, form)
