// The gateway of the comparison in Node: fastify with its own proxy plugin, one access log line per request.
import cluster from "node:cluster";
import process from "node:process";

import proxy from "@fastify/http-proxy";
import fastify from "fastify";

const workers = Number(process.env.WORKERS);

if (workers > 1 && cluster.isPrimary) {
  for (let number = 0; number < workers; number += 1) cluster.fork();
} else {
  const gateway = fastify({ logger: true, keepAliveTimeout: 75_000 });
  gateway.addHook("onSend", async (_request, reply) => {
    reply.header("X-CoreRL-Version", "1");
  });
  gateway.addHook("onResponse", async (request, reply) => {
    const { method, url, ip } = request;
    gateway.log.info({ method, url, ip, status: reply.statusCode, duration: reply.elapsedTime });
  });
  await gateway.register(proxy, {
    upstream: process.env.UPSTREAM,
    prefix: "/api/v1/coredinator",
    rewritePrefix: "",
    websocket: true,
    undici: { connections: Number(process.env.UPSTREAM_CONNECTIONS), pipelining: 1 },
    logLevel: "warn", // of the plugin's routes: by default they write four lines per request
  });
  await gateway.listen({ host: "127.0.0.1", port: Number(process.env.PORT), backlog: 4096 });
}
