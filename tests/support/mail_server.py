"""A mail server on this machine that stores the messages it receives."""

import contextlib
import socketserver
import threading


class _Conversation(socketserver.StreamRequestHandler):
    """The commands of SMTP (RFC 5321) that are needed to receive a message."""

    def handle(self):
        letter = {"to": []}
        self.say("220 here")
        while line := self.rfile.readline().decode().rstrip("\r\n"):
            verb = line.split()[0].upper()
            if verb == "DATA":
                self.say("354 go on")
                letter["lines"] = list(self.read_message())
                self.server.letters.append(letter)
            elif verb == "MAIL":
                letter["from"] = line.partition(":")[2].split()[0]
            elif verb == "RCPT":
                letter["to"].append(line.partition(":")[2])
            self.say(self.server.replies.get(verb) or ("221 bye" if verb == "QUIT" else "250 good"))

    def read_message(self):
        while (line := self.rfile.readline().decode().rstrip("\r\n")) != ".":
            yield line.removeprefix(".")

    def say(self, line):
        self.wfile.write(f"{line}\r\n".encode())


@contextlib.contextmanager
def receiving(replies=None):
    """Yield the port of the server and the messages received. `replies` maps a command to its reply instead of 250."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Conversation)
    server.daemon_threads = True
    server.letters, server.replies = [], replies or {}
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_address[1], server.letters
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
