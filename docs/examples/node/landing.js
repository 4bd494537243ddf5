// The landing page: takes the form that AWS Marketplace has the buyer's browser post.
//   RESOLUTION_AMQP__URL=amqps://shop:…@broker/%2F NETWORK_KEY=… node landing.js [PORT]
import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { BadToken, NotPublished, Resolver } from "./resolver.js";

const resolver = new Resolver(process.env.RESOLUTION_AMQP__URL);

// Who brings the token, so that a flood from one network costs others little: never the session.
function networkOf(address) {
  const plain = address.replace(/^::ffff:(?=\d+\.)/, "");
  const network = plain.includes(".") ? plain.replace(/\.\d+$/, "") : groups(plain).join(":");
  return createHmac("sha256", process.env.NETWORK_KEY).update(network).digest("hex").slice(0, 32);
}

// The first 56 bits of an IPv6 address.
function groups(address) {
  const [head, tail] = address.split("::").map((part) => (part ? part.split(":") : []));
  const middle = tail ? Array(8 - head.length - tail.length).fill("0") : [];
  const numbers = [...head, ...middle, ...(tail ?? [])].slice(0, 4).map((part) => parseInt(part, 16));
  return [...numbers.slice(0, 3), numbers[3] >> 8];
}

const MOST_BYTES = 32 * 1024; // AWS's form has far less; the broker refuses large messages

async function page(request) {
  if (!(Number(request.headers["content-length"]) <= MOST_BYTES)) return [413, {}, ""];
  const form = new URLSearchParams(await text(request)); // decodes exactly once
  try {
    const answer = await resolver.resolve(form.get("x-amzn-marketplace-token") ?? "", {
      wait: 10_000,
      offerType: form.get("x-amzn-marketplace-offer-type")?.slice(0, 255),
      // Behind a proxy: the address that your own proxy tells, not what the client wrote.
      source: networkOf(request.socket.remoteAddress),
    });
    switch (answer.status) {
      case "resolved": // docs/after-resolved.md
        // Yours: bind this browser's session to the agreement, unless the answer is repeated.
        return [303, { location: answer.repeated ? "/login" : "/signup" }, ""];
      case "rejected":
      case "expired":
        return [410, {}, "Please begin again at AWS Marketplace."];
      case "pending":
        return [303, { location: `/waiting/${answer.message_id}` }, ""];
      default: // dead or malformed
        return [502, {}, "Please contact us."];
    }
  } catch (error) {
    if (error instanceof BadToken) return [400, {}, "Please begin again at AWS Marketplace."];
    if (error instanceof NotPublished) return [503, {}, "Please try again in a minute."];
    throw error;
  }
}

const server = createServer((request, response) => {
  page(request).then(
    ([status, headers, body]) => response.writeHead(status, headers).end(body),
    () => response.writeHead(500).end(),
  );
});
server.listen(Number(process.argv[2] ?? 8080), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}/`);
});
process.once("SIGTERM", async () => {
  server.close();
  await resolver.close();
});
