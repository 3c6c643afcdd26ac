"""The stream side of the simulator: the venues' sockets, on the port of their REST.

What is pushed is the market REST serves. A trade on a socket is the trade in the history, with its
id, time, price, size and side; a book's snapshot over REST continues with the changes on the
socket; the closing candle is REST's. A trade is pushed when the simulator's clock has passed its
time by two milliseconds, so whatever was pushed, or was dropped by a fault, can be had over REST at
once.

How it works. `gate` answers handshakes and reads clients; a `StreamVenue` (`protocol`) speaks the
venue's words with a `Connection`; a `Hub` keeps the connections of one venue. Every ten
milliseconds the hub asks each `Topic` that has subscribers what happened since it last asked, lets
`tamper` do what message faults say, writes every message once as a frame, and hands the frames to
the connections. `feed` reads the market for topics.

To add a venue, write one module with one subclass of `StreamVenue`, and add one line to
`registry.py`:

1. Set `name` (the REST venue's), `hosts` (the real hosts of its sockets) and `words` (the names of
   fields that faults may spoil).
2. `route` tells which socket a URL means: `path` is relative to the venue's prefix, `host` is one
   of `hosts`, or "" when the prefix chose the venue. Return a `Route` with the `Rules` the venue
   demands there, or None, which answers 404. Pings, pongs, rates, sizes, lifetimes, idle closes
   and the handshake limit are watched by the core once the rules say so.
3. `opened` welcomes a new connection: set `connection.style`, subscribe what the URL names.
4. `received` acts on one text of a client. Read it with your own eyes: never import a connector.
   Look instruments up with `self.venue.lookup`, build a topic, and give the answer and what it does
   to `connection.answer(payload, request, act)`, so that `ws_no_ack` and `ws_error_ack` work:

       connection.answer(ack, request, lambda: connection.subscribe(topic))

   The answer goes out first, then `act` runs, and with it the topic's snapshot goes out. Texts
   that are not answers to requests (pongs, errors) go out with `connection.send`.
5. Topics: one class for each format, a subclass of `TradeTopic`, `OrderTopic`, `BookTopic`,
   `BookViewTopic`, `TopTopic`, `CandleTopic` or `LiquidationTopic` that only writes text
   (`encode`, `snapshot`), or a `TickTopic` around a function of time for all that is sent as it is
   then: tickers, mark prices, funding, open interest. A topic's `name` must say everything that
   makes it differ (market, channel, symbol, period): topics of one name are one, made once,
   whoever subscribes. `wrap` makes the message for connections of different styles.
6. `notify` announces an upgrade (`ws_shutdown_notice`), `error_ack` words a refusal.

Where a connection numbers all it sends (Coinbase), set `seals` and give every message its number in
`seal`; messages a fault loses come there, too, so that the hole shows. Where requests are carried
out before they are answered (snapshots first), call `answer` with `acts_first`.

A message must be written from the arguments of `encode` alone: the core decides what happened when.
Books: write `book.sequence` as the venue's id, its previous one from `before.sequence`; REST must
write the same (`venue.book_at`). Ids of a topic that gathers several steps just jump.
"""
