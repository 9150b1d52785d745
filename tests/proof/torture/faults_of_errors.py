"""List faults in the judging, recording and reporting of errors.

Separate because each of them removes one guard, and there are as many guards as there are odd errors.
Leaves to `planting` the planting.
"""

from __future__ import annotations

from tests.proof.torture.planting import Fault

SHAPES = ("tests/rules/test_shapes_of_errors.py",)
TRIES = ("tests/rules/test_tries.py",)
MISTAKES = ("tests/rules/test_mistakes.py", "tests/rules/test_mistakes_in_steps.py")
KEPT = ("tests/rules/test_errors_kept.py",)
HANDLERS = ("tests/unit/functions/test_handler.py",)

OF_ERRORS = [
    # What an exception's class can override.
    Fault(
        "believe what an error says of its class",
        "journal/codec/guests.py",
        "return issubclass(type(error), classes)",
        "return isinstance(error, classes)",
        SHAPES,
    ),
    Fault(
        "read an error's traceback as its class gives it",
        "journal/codec/guests.py",
        "= _trace.__get__(error)",
        "= error.__traceback__",
        SHAPES,
    ),
    Fault(
        "set an error's traceback as its class lets one",
        "journal/codec/guests.py",
        "_trace.__set__(error, trace)",
        "error.__traceback__ = trace",
        SHAPES,
    ),
    Fault(
        "ask a metaclass for a name",
        "journal/codec/guests.py",
        "str = _name.__get__(type(error))",
        "str = type(error).__name__",
        SHAPES,
    ),
    Fault(
        "ask an error for its cause", "journal/codec/guests.py", "= _cause.__get__(error)", "= error.__cause__", SHAPES
    ),
    Fault(
        "let the text of an error leave",
        "journal/codec/guests.py",
        "    except BaseException as broken:  # a __str__ of",
        "    except Exception as broken:  # a __str__ of",
        SHAPES,
    ),
    Fault(
        "keep halves of surrogate pairs",
        "journal/codec/failures.py",
        "        first = last = text = keepable(text)\n",
        "        first = last = text\n",
        KEPT,
    ),
    Fault("lose an error's notes", "journal/codec/failures.py", "(*_notes(error), *notes)", "notes", KEPT),
    Fault(
        "lose the stacks of a group's members",
        "journal/codec/failures.py",
        '+ "".join(_member_stacks(inside, limit - own, depth))',
        "",
        KEPT,
    ),
    Fault(
        "lose the causes on the way to the function",
        "journal/codec/failures.py",
        "error.stack, key, error.causes)",
        "error.stack, key)",
        KEPT,
    ),
    Fault(
        "tell no causes in the failed event",
        "journal/rules/endings.py",
        "for cause in ledger.error.causes]",
        "for cause in ()]",
        KEPT,
    ),
    Fault("call the constructor of a copy", "errors.py", "    def __reduce__(self)", "    def reduced(self)", KEPT),
    Fault(
        "let a header be an error",
        "timers/retry_after.py",
        "except (ValueError, OverflowError):",
        "except KeyError:",
        KEPT,
    ),
    # What ends a thread, a step, a run.
    Fault(
        "let a thread's error be what it is",
        "scheduler/threads.py",
        "return None, _carried(error)",
        "return None, error",
        SHAPES,
    ),
    Fault(
        "record a step's outcome without a guard",
        "scheduler/attempts.py",
        "        except BaseException as broken:\n            if isinstance(broken, RecursionError)",
        "        except LookupError as broken:\n            if isinstance(broken, RecursionError)",
        TRIES,
    ),
    Fault(
        "record a function's outcome without a guard",
        "scheduler/outcome.py",
        "        except BaseException as broken:\n            if self._parts.journal",
        "        except LookupError as broken:\n            if self._parts.journal",
        TRIES,
    ),
    Fault(
        "begin a try without a guard",
        "scheduler/attempts.py",
        "        except Exception as error:  # whoever lets",
        "        except LookupError as error:  # whoever lets",
        TRIES,
    ),
    Fault(
        "take what a handler makes of its cancelling for a failure",
        "scheduler/attempts.py",
        "        if self._stopped or self._parts.life.is_cut:\n",
        "        if self._parts.life.is_cut:\n",
        TRIES,
    ),
    Fault(
        "let a blocking handler end the process",
        "scheduler/attempts.py",
        "if not self._handler.is_async and not self._parts.settings.exits:",
        "if False:",
        TRIES,
    ),
    Fault("keep a script from ending", "engine/script.py", "exits=True, ", "", TRIES),
    # Time, and what is tried again.
    Fault(
        "count a try's time before its handler begins",
        "scheduler/bounds.py",
        "if self._timeout is not None and has_begun else None",
        "if self._timeout is not None else None",
        TRIES,
    ),
    Fault(
        "try past the time of all tries",
        "scheduler/attempts.py",
        "due is None or (bounds is not None and bounds.is_past(due))",
        "due is None",
        TRIES,
    ),
    Fault(
        "forget when the first try began",
        "scheduler/attempts.py",
        "failure, now, step.began)",
        "failure, now)",
        TRIES,
    ),
    Fault(
        "go on when a choice raises",
        "journal/rules/retries.py",
        "return Verdict(notes=",
        "return Verdict(now, notes=",
        TRIES,
    ),
    Fault("try a function's steps as itself", "functions/context.py", "policy.for_steps", "policy", TRIES),
    Fault(
        "make much of nothing",
        "journal/rules/retries.py",
        "plain = min(first, longest) and longest",
        "plain = longest",
        TRIES,
    ),
    Fault(
        "count what a handler leaves behind as the handler",
        "functions/current.py",
        "return trying if trying is not None and trying.is_running else None",
        "return trying",
        TRIES,
    ),
    # Wrong use.
    Fault(
        "try again what cannot get better",
        "journal/rules/retries.py",
        " or is_misuse(one) for one in",
        " for one in",
        MISTAKES,
    ),
    Fault(
        "leave a call that does not fit to the interpreter",
        "errors.py",
        "            setattr(cls, name, _checked(method))\n",
        "            pass\n",
        MISTAKES,
    ),
    Fault(
        "try again a call that failed",
        "scheduler/attempts.py",
        "is_final=is_failed_call(error)",
        "is_final=False",
        HANDLERS,
    ),
    Fault(
        "let a nested step be swallowed",
        "scheduler/attempts.py",
        "        elif nested is not None:\n",
        "        elif False:\n",
        MISTAKES,
    ),
    Fault(
        "let the last limit be swallowed",
        "scheduler/session.py",
        "        self.fault = self.fault or fault\n",
        "",
        MISTAKES,
    ),
    Fault(
        "take a value that cannot be kept for a try",
        "scheduler/attempts.py",
        "            self._fail(told(error), is_final=True)\n",
        "            self._fail(told(error))\n",
        TRIES,
    ),
    Fault(
        "believe a double",
        "functions/handler.py",
        "        if kind is FunctionType:\n",
        "        if isinstance(handler, FunctionType):\n",
        HANDLERS,
    ),
]
