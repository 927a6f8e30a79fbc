// What people do, in TypeScript: by a client whose types are made from the OpenAPI document. Prints what it was answered.
import process from "node:process";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type Usage = components["schemas"]["Usage"];
type Problem = components["schemas"]["Problem"];

const account = { email: "ada@example.org", password: "unrelated words make good ones" };
const client = createClient<paths>({ baseUrl: process.argv[2] ?? "" });

function given<Answer>(answer: { data?: Answer; error?: Problem }): Answer {
  if (answer.data === undefined) throw new Error(answer.error?.detail ?? "There was no answer.");
  return answer.data;
}

const ada = given(await client.POST("/api/v1/auth/register", { body: { ...account, name: "Ada" } }));
const tokens = given(await client.POST("/api/v1/auth/login", { body: account }));
client.use({
  onRequest({ request }) {
    request.headers.set("Authorization", `Bearer ${tokens.access_token}`);
  },
});

const recording = await client.POST("/api/v1/usages", {
  body: { usage_type_id: 100, usage_at: "2026-01-31T12:00:00Z", amount: 12.5 },
});
const answer = given(recording);
if ("ids" in answer) throw new Error("An array was not sent.");
const recorded: Usage = answer;
const array = given(
  await client.POST("/api/v1/usages", {
    body: [{ usage_type_id: 101, usage_at: "2025-01-31T12:00:00Z", amount: 1 }],
  }),
);
const several: number[] = "ids" in array ? array.ids : [];
await client.DELETE("/api/v1/usages", { params: { query: { id: several } } });
const listed = given(await client.GET("/api/v1/usages", { params: { query: { start: "2026-01-01", quality: ["measured"] } } }));
const months = given(await client.GET("/api/v1/emissions/trend", { params: { query: { bucket: "month" } } }));

const path = { usage_id: recorded.id };
const corrected = given(
  await client.PATCH("/api/v1/usages/{usage_id}", {
    params: { path, header: { "If-Match": recording.response.headers.get("ETag") ?? "" } },
    body: { amount: "12.75", reason: "The meter was read again." },
  }),
);
const late = await client.PATCH("/api/v1/usages/{usage_id}", {
  params: { path, header: { "If-Match": '"1"' } },
  body: { amount: 13 },
});
const explained = given(await client.GET("/api/v1/usages/{usage_id}/explain", { params: { path } }));
const exported: string = given(await client.GET("/api/v1/usages/export", { parseAs: "text" }));
const deleted = await client.DELETE("/api/v1/usages/{usage_id}", { params: { path } });

// @ts-expect-error: An amount is a number, or one in writing.
const mistyped: components["schemas"]["NewUsage"] = { usage_type_id: 100, usage_at: "2026-01-31T12:00:00Z", amount: true };
// @ts-expect-error: There is no such query argument.
const misspelt = { params: { query: { strat: "2026-01-01" } } } satisfies Parameters<typeof client.GET<"/api/v1/usages", never>>[1];

console.log(
  JSON.stringify({
    role: ada.role,
    recorded: recorded.co2e_kg,
    several: several.length,
    listed: listed.map((usage) => usage.amount),
    months: months.map((month) => [month.bucket_start, month.co2e_kg]),
    corrected: [corrected.version, corrected.co2e_kg],
    late: late.error?.status,
    explained: explained.calculation,
    exported: exported.trim().split("\n").length,
    deleted: deleted.response.status,
    mistyped: typeof mistyped.amount,
    misspelt: Object.keys(misspelt.params.query),
  }),
);
