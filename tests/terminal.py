"""A terminal of 80 columns, as a program that writes on it sees it."""

import io
import re


class Terminal(io.StringIO):
    """Remembers what is written on it, and what is seen in the end."""

    def isatty(self):
        """Say that it is one."""
        return True

    @property
    def written(self) -> list[str]:
        """Each text that stood in a line at some time."""
        texts = re.split(r"[\r\n]|\x1b\[A", self.getvalue())
        return [text for text in texts if text.strip()]

    @property
    def screen(self) -> list[str]:
        """The lines that are seen, the last being that of the cursor."""
        lines, row, column = [""], 0, 0
        for piece in re.findall(r"\r|\n|\x1b\[A|[^\r\n\x1b]+", self.getvalue()):
            if piece == "\r":
                column = 0
            elif piece == "\n":
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            elif piece == "\x1b[A":
                row -= 1
            else:
                line = lines[row].ljust(column)
                lines[row] = line[:column] + piece + line[column + len(piece) :]
                column += len(piece)
        return [line.rstrip() for line in lines]
