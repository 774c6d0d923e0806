"""The live page: what the node does at this moment, for people.

    figures   rates and quantiles, from what was counted between two moments; pure
    feed      one picture of the node a second, while there are watchers
    refusals  whom the gateway refuses or ends, and why
    history   the last hour, from before the page was opened
    routes    `/dashboard`, its files, and the stream of events that feeds it

`page.html`, `page.css` and `page.js` are the page itself; `plots.js` draws, `past.js` has the hour,
`request.js` shows one request, and `refusals.js` refused callers. Nothing of it comes from elsewhere.
"""
