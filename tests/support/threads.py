"""Requests at the same time."""

import threading


def at_once(number, act):
    """The answers to `number` requests that are made at the same time; `act` is given the place of each, from 0."""
    answers, barrier = [], threading.Barrier(number)

    def run(place):
        barrier.wait()
        answers.append(act(place))

    threads = [threading.Thread(target=run, args=(place,)) for place in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
