-- Documents to sign as a Prisma application would have them: quoted names, cuid keys, enums, timestamp(3), arrays, ON DELETE everywhere.
CREATE TYPE "DocumentStatus" AS ENUM ('DRAFT', 'SENT', 'COMPLETED');
CREATE TYPE "Role" AS ENUM ('ADMIN', 'MEMBER');
CREATE TABLE "_prisma_migrations" (id varchar(36) PRIMARY KEY, checksum varchar(64) NOT NULL, finished_at timestamptz);
CREATE TABLE "User" (id text PRIMARY KEY, name text, email text NOT NULL, "emailVerified" timestamp(3), password text, roles "Role"[] DEFAULT ARRAY['MEMBER'::"Role"], "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" timestamp(3) NOT NULL, disabled boolean NOT NULL DEFAULT false);
CREATE UNIQUE INDEX "User_email_key" ON "User" (email);
CREATE TABLE "Account" (id text PRIMARY KEY, "userId" text NOT NULL REFERENCES "User" (id) ON DELETE CASCADE ON UPDATE CASCADE, provider text NOT NULL, "providerAccountId" text NOT NULL, access_token text, refresh_token text, expires_at integer, "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE UNIQUE INDEX "Account_provider_key" ON "Account" (provider, "providerAccountId");
CREATE TABLE "Session" (id text PRIMARY KEY, "sessionToken" text NOT NULL UNIQUE, "userId" text NOT NULL REFERENCES "User" (id) ON DELETE CASCADE, expires timestamp(3) NOT NULL);
CREATE TABLE "Team" (id serial PRIMARY KEY, name text NOT NULL, url text NOT NULL UNIQUE, "ownerUserId" text NOT NULL REFERENCES "User" (id) ON DELETE CASCADE, "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE "TeamMember" ("teamId" integer NOT NULL REFERENCES "Team" (id) ON DELETE CASCADE, "userId" text NOT NULL REFERENCES "User" (id) ON DELETE CASCADE, role "Role" NOT NULL, "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY ("teamId", "userId"));
CREATE TABLE "Document" (
    id text PRIMARY KEY, "externalId" text, title text NOT NULL, status "DocumentStatus" NOT NULL DEFAULT 'DRAFT', "userId" text NOT NULL REFERENCES "User" (id) ON DELETE RESTRICT,
    "teamId" integer REFERENCES "Team" (id) ON DELETE SET NULL, "formValues" jsonb, "authOptions" jsonb, "page count" integer NOT NULL DEFAULT 1, "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "deletedAt" timestamp(3)
);
CREATE INDEX "Document_status_idx" ON "Document" (status);
CREATE TABLE "DocumentData" (id text PRIMARY KEY, type text NOT NULL, data text NOT NULL, "initialData" bytea NOT NULL, "documentId" text UNIQUE REFERENCES "Document" (id) ON DELETE CASCADE);
CREATE TABLE "DocumentMeta" (id text PRIMARY KEY, subject text, message text, timezone text DEFAULT 'Etc/UTC', "documentId" text NOT NULL UNIQUE REFERENCES "Document" (id) ON DELETE CASCADE, "deletedAt" timestamp(3));
CREATE TABLE "Recipient" (id serial PRIMARY KEY, "documentId" text NOT NULL REFERENCES "Document" (id) ON DELETE CASCADE, email varchar(255) NOT NULL, name varchar(255) NOT NULL DEFAULT '', token text NOT NULL, "signedAt" timestamp(3), "signingOrder" integer);
CREATE UNIQUE INDEX "Recipient_key" ON "Recipient" ("documentId", email);
CREATE TABLE "Field" (id bigserial PRIMARY KEY, "recipientId" integer NOT NULL REFERENCES "Recipient" (id) ON DELETE CASCADE, page integer NOT NULL, "positionX" numeric(65,30) NOT NULL DEFAULT 0, width real NOT NULL DEFAULT -1, inserted boolean NOT NULL, limits int4range);
CREATE TABLE "Signature" (id serial PRIMARY KEY, created timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "recipientId" integer NOT NULL, "signatureImageAsBase64" text, "fieldId" bigint NOT NULL UNIQUE REFERENCES "Field" (id) ON DELETE CASCADE);
CREATE TABLE "Webhook" (id text PRIMARY KEY, "webhookUrl" text NOT NULL, "eventTriggers" text[], secret text, enabled boolean NOT NULL DEFAULT true, "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "userId" text NOT NULL REFERENCES "User" (id) ON DELETE CASCADE);
CREATE TABLE "ApiToken" (id serial PRIMARY KEY, name text NOT NULL, token text NOT NULL UNIQUE, algorithm text NOT NULL DEFAULT 'SHA512', expires timestamp(3), "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE "_DocumentToFolder" ("A" text NOT NULL REFERENCES "Document" (id) ON DELETE CASCADE, "B" text NOT NULL);
CREATE UNIQUE INDEX "_DocumentToFolder_AB_unique" ON "_DocumentToFolder" ("A", "B");
CREATE TABLE "Subscription" (id serial PRIMARY KEY, "planId" text NOT NULL, "priceId" text NOT NULL, "periodEnd" timestamp(3), "teamId" integer UNIQUE REFERENCES "Team" (id) ON DELETE CASCADE, total integer GENERATED ALWAYS AS (2 * 3) STORED, "order" integer, "createdAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE "Setting" (id text PRIMARY KEY, enabled boolean NOT NULL DEFAULT false, data jsonb NOT NULL, "lastModifiedAt" timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "lastModifiedByUserId" text REFERENCES "User" (id) ON DELETE SET NULL);
ALTER TABLE "Setting" ENABLE ROW LEVEL SECURITY;
