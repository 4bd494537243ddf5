// Only publishes: no reply queue, no waiting. What becomes of a token is read elsewhere, from the
// view `resolution.outcomes` by `token_sha256`.
import { randomUUID } from "node:crypto";
import amqp from "amqplib";

export class Publisher {
  #channel;

  constructor(url) {
    this.url = new URL(url);
    this.url.searchParams.set("heartbeat", "10");
  }

  // Resolves once the broker has it on disk. If it fails, keep the token and call again with the
  // same id: what arrives twice is resolved once.
  async publish(token, id = randomUUID()) {
    const channel = await this.#open();
    const body = { version: 1, registration_token: token, received_at: new Date().toISOString() };
    const properties = { messageId: id, contentType: "application/json", persistent: true };
    const unroutable = new Promise((_, fail) => channel.once(id, fail));
    const confirmed = new Promise((settle, fail) => {
      channel.publish(
        "resolution",
        "token", // or "backlog", if no buyer waits
        Buffer.from(JSON.stringify(body)),
        { ...properties, mandatory: true },
        (refused) => (refused ? fail(refused) : settle(id)),
      );
    });
    try {
      return await Promise.race([unroutable, confirmed]);
    } finally {
      channel.removeAllListeners(id);
    }
  }

  // One connection for the process; a new one after it was lost.
  #open() {
    this.#channel ??= this.#connect().catch((error) => {
      this.#channel = undefined;
      throw error;
    });
    return this.#channel;
  }

  async #connect() {
    const connection = await amqp.connect(this.url.href, { timeout: 5_000 });
    const forget = () => (this.#channel = undefined);
    connection.on("error", forget).on("close", forget);
    const channel = await connection.createConfirmChannel();
    channel.on("error", forget).on("close", () => connection.close().catch(() => {}));
    // A returned message is confirmed as well, but comes back first.
    channel.on("return", ({ properties }) =>
      channel.emit(properties.messageId, new Error("no queue takes it: is the topology declared?")),
    );
    return channel;
  }
}
