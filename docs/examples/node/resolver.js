// Asks the resolution worker who a buyer is. docs/protocol.md explains each step.
import { createHash, randomUUID } from "node:crypto";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import amqp from "amqplib";

const SILENCE_MS = 3_000; // no state for so long: nobody works
const LAST_CALL_MS = 1_000; // so long before the deadline a submission is sent once more
const NO_TOKEN = /[\s\p{Cc}]|%[0-9A-F]{2}/iu; // the worker refuses some more

export class BadToken extends Error {} // it can't be a token
export class NotPublished extends Error {} // not confirmed by the broker: safe to repeat

export class Resolver {
  #asked = new Map(); // by message_id, all that wait for an answer
  #replicas = new Map(); // by name, what each said last
  #closed = false;
  #connection;
  #channel;
  #replyTo;

  constructor(url, report = console.error) {
    this.url = new URL(url);
    this.url.searchParams.set("heartbeat", "10"); // the broker's own suggestion is a minute
    this.caller = decodeURIComponent(this.url.username);
    this.report = report;
    this.running = this.#run();
  }

  // The outcome; or { status: "pending", message_id, reason } where there is none within `wait` ms,
  // or at once while calls do not run.
  async resolve(token, { wait = 10_000, source, offerType, metadata } = {}) {
    if (!token || token.length > 8_192 || NO_TOKEN.test(token)) throw new BadToken();
    const members = { registration_token: token, offer_type: offerType, source, metadata };
    const body = { version: 1, received_at: new Date().toISOString(), ...members };
    const question = {
      id: randomUUID(), // nothing in it may be the token
      body: Buffer.from(JSON.stringify(body)),
      sha256: createHash("sha256").update(token).digest("hex"),
      confirmed: false,
    };
    const answered = new Promise((settle) => (question.settle = settle));
    const timers = [
      setTimeout(() => this.#send(question), Math.max(wait / 2, wait - LAST_CALL_MS)),
      setTimeout(() => this.#give(question, "waiting"), wait),
    ];
    this.#asked.set(question.id, question);
    this.#send(question);
    try {
      const answer = await answered;
      if (answer.status === "pending" && !question.confirmed) throw new NotPublished();
      return answer;
    } finally {
      timers.forEach(clearTimeout);
      this.#asked.delete(question.id);
    }
  }

  async close() {
    this.#closed = true;
    await this.#connection?.close().catch(() => {});
    await this.running;
  }

  // One life of the connection after another.
  async #run() {
    while (!this.#closed) {
      await this.#live().catch((error) => this.report(`broker: ${error.message}`));
      this.#channel = undefined;
      if (!this.#closed) await sleep(500 + 1_000 * Math.random());
    }
  }

  async #live() {
    const connection = await amqp.connect(this.url.href, { timeout: 5_000 });
    this.#connection = connection;
    const ended = once(connection, "close"); // rejects if "error" comes first
    ended.catch(() => {});
    connection.on("error", () => {}); // without a listener it would end the process
    try {
      if (this.#closed) return;
      const channel = await connection.createConfirmChannel();
      channel.on("error", (error) => this.report(`channel: ${error.message}`));
      channel.on("close", () => connection.close().catch(() => {}));
      channel.on("return", ({ properties }) => {
        const question = this.#asked.get(properties.messageId);
        if (question) question.returned = true;
      });
      await this.#listen(channel);
      const looking = setInterval(() => this.#look(), 250);
      connection.once("close", () => clearInterval(looking));
      this.#channel = channel;
      for (const question of this.#asked.values()) this.#send(question);
      await ended;
    } finally {
      await connection.close().catch(() => {});
    }
  }

  // A queue with a new name for each life: the broker may hold the former one for a while.
  async #listen(channel) {
    const name = `resolution.reply.${this.caller}.${randomUUID()}`;
    await channel.assertQueue(name, { exclusive: true });
    await channel.bindQueue(name, "resolution.answers", name);
    await channel.consume(name, (message) => this.#hear(message), { noAck: true });
    await channel.assertQueue(`${name}.state`, { exclusive: true });
    await channel.bindQueue(`${name}.state`, "resolution.state", "");
    await channel.consume(`${name}.state`, (message) => this.#hearState(message), { noAck: true });
    this.#replicas.clear();
    this.#replicas.set("until one is heard", { calls: "running", at: Date.now() });
    this.#replyTo = name;
  }

  #send(question) {
    const properties = {
      messageId: question.id, // the same each time: the worker answers from its ledger
      replyTo: this.#replyTo,
      userId: this.caller,
      contentType: "application/json",
      timestamp: Math.floor(Date.now() / 1000),
      persistent: true,
      mandatory: true,
    };
    const confirmed = (refused) => {
      if (!refused && !question.returned) question.confirmed = true;
      else if (this.#asked.has(question.id)) setTimeout(() => this.#send(question), 500);
      question.returned = false;
    };
    try {
      this.#channel?.publish("resolution", "token", question.body, properties, confirmed);
    } catch {
      // The channel is closing: the next life sends it again.
    }
  }

  #hear(message) {
    if (message === null) return this.#restart();
    const answer = JSON.parse(message.content);
    const question = this.#asked.get(answer.message_id);
    // Anybody who may publish can have an answer sent here: it must be about the token we sent.
    if (question && answer.token_sha256 === question.sha256) question.settle(answer);
  }

  #hearState(message) {
    if (message === null) return this.#restart();
    const { calls } = JSON.parse(message.content);
    this.#replicas.delete("until one is heard");
    this.#replicas.set(message.properties.appId, { calls, at: Date.now() });
  }

  // Nobody waits while calls do not run. One replica that runs is enough.
  #look() {
    for (const [name, { at }] of this.#replicas) {
      if (Date.now() - at > SILENCE_MS) this.#replicas.delete(name);
    }
    const calls = [...this.#replicas.values()].map((replica) => replica.calls);
    if (calls.includes("running")) return;
    const reason = calls.includes("paused") ? "paused" : "stopped";
    for (const question of this.#asked.values()) {
      if (question.confirmed) this.#give(question, reason);
    }
  }

  // The broker has cancelled a consumer: its queue is gone.
  #restart() {
    this.#connection.close().catch(() => {});
  }

  #give(question, reason) {
    question.settle({ status: "pending", message_id: question.id, reason });
  }
}
