"""The rules of `audit check` as data: what each one means, and how its findings are kept, accepted or postponed.

`audit explain` and SARIF read it here; a test holds it to the rules that a check can make.
"""

from __future__ import annotations

from msgspec import Struct


class Rule(Struct, frozen=True):
    """meaning, keep, accept, postpone: one sentence each; why: when it is an error, a warning, or silent."""

    meaning: str
    why: str
    keep: str
    accept: str = "Run audit baseline --update on such a machine, read its difference and commit it."
    postpone: str = "Add a waiver with a reason and a last day to the policy."


RULES: dict[str, Rule] = {
    "results-changed": Rule(
        "Operators or jobs give other bits than the baseline holds.",
        "An error: the same program gives other numbers from here on.",
        "Bring back what decides these bits: the finding names the root, and audit reproduce tries settings.",
    ),
    "numeric-drift": Rule(
        "A fact that can change bits is another one than the baseline holds.",
        "A warning where the operators of all that it touches agree, an error where they were not compared.",
        "Bring the fact back to the baseline's value: pin the package, the image or the variable.",
    ),
    "performance-drift": Rule(
        "A fact that changes speed and no bits is another one than the baseline holds.",
        "A warning: results are the same, times are not.",
        "Bring the limit or the machine back to what the baseline holds.",
    ),
    "identity-drift": Rule(
        "A fact that says which machine this is is another one than the baseline holds.",
        "Silent unless the policy asks for it, as `strict` does.",
        "Run on the machine or the image that the baseline was made on.",
    ),
    "nondeterministic": Rule(
        "This machine does not give the same bits in every run.",
        "As severe as changed results: what is not repeated can be held by no baseline.",
        "Run audit vary: it finds the settings under which the machine repeats itself.",
    ),
    "unknown-class": Rule(
        "This hardware (its architecture and the code paths in effect) is of no class that the baseline holds.",
        "One finding for all of it; an error where results are others or were not compared, else a warning.",
        "Run on hardware of a class that the baseline holds.",
        "Run audit baseline --update-new-only on this hardware and commit the class that it adds.",
    ),
    "version-out-of-range": Rule(
        "A package has a version outside the range that the policy allows.",
        "As severe as the policy says; an error unless it says otherwise.",
        "Install a version within the range.",
        "Change the range in the policy.",
    ),
    "required-unreadable": Rule(
        "The policy requires a fact that this machine cannot read.",
        "An error: what cannot be seen cannot be in order.",
        "Make it readable: the finding says why it is not.",
        "Take the fact out of the policy's required ones.",
    ),
    "unreadable": Rule(
        "The baseline holds something that could not be read here.",
        "A warning, and the check is incomplete: it compared less than the baseline holds.",
        "Make it readable: the finding says why it is not.",
    ),
    "nothing-compared": Rule(
        "Nothing that the baseline holds was compared.",
        "An error: comparing nothing is never a pass.",
        "Check a machine, with a baseline that holds something of it.",
    ),
    "stale-waiver": Rule(
        "A waiver has expired, or nothing is left that it would excuse.",
        "A warning: an exception that nobody needs hides the next drift.",
        "Remove the waiver from the policy.",
        "Remove the waiver from the policy.",
        "Give the waiver a later last day, with the reason why.",
    ),
}
