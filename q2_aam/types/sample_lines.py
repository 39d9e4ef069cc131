"""What text formats of one line a sample share: a header, then an id and numbers in each line."""

from qiime2.plugin import TextFileFormat, ValidationError

LINES_AT_LEVEL_MIN = 6


class SampleLinesFormat(TextFileFormat):
    """Tab-separated: a header, then a line a sample. Subclasses say what these must be."""

    nothing = "nothing is said"
    """What it means if there is no sample."""

    def check_header(self, header: list[str]) -> None:
        """Raise a ValidationError if the names of the columns are not those of the format."""
        raise NotImplementedError

    def check_line(self, cells: list[str], number: int, width: int) -> None:
        """Raise one if line `number`, under a header of some width, is not of the format."""
        raise NotImplementedError

    def _validate_(self, level):
        try:
            with self.open() as handle:
                self._check(handle, level)
        except UnicodeDecodeError as error:
            raise ValidationError(f"{self} is not text: {error}") from error

    def _check(self, handle, level):
        header = next(handle, "").rstrip("\r\n").split("\t")
        self.check_header(header)
        names = set()
        for number, line in enumerate(handle, start=2):
            if level == "min" and number > LINES_AT_LEVEL_MIN:
                return
            cells = line.rstrip("\r\n").split("\t")
            self.check_line(cells, number, len(header))
            if cells[0] in names:
                raise ValidationError(f"The id '{cells[0]}' of line {number} occurs twice.")
            names.add(cells[0])
        if not names:
            raise ValidationError(f"There is no line below the header, so {self.nothing}.")
