"""The peer: the same page and the same POST on the same tables, written like FastAPI's documentation.

Async SQLAlchemy and asyncpg, pydantic models, dependencies; started by uvicorn with two workers. It verifies
the same token, caches the session as long, and returns the same fields. A POST looks for a closed period, and writes
the usage, its audit entry and its daily total in one transaction.
"""

import datetime as dt
import json
import os
import time
import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import jwt
import sqlalchemy as sa
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SESSION_CACHE_SECONDS = 5
# The audit entry has columns of its own for these.
NOT_AUDITED = {"organization_id", "id", "version", "recorded_at", "recorded_by", "reason"}

engine = create_async_engine(
    os.environ["BENCHMARK_DATABASE_URL"],
    pool_size=10,
    max_overflow=0,
    pool_use_lifo=True,
    pool_pre_ping=True,
    connect_args={"server_settings": {"timezone": "UTC"}},
)
sessions = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


class Base(DeclarativeBase):
    type_annotation_map = {dt.datetime: sa.DateTime(timezone=True), str: sa.Text(), int: sa.BigInteger()}


class Organization(Base):
    __tablename__ = "organizations"
    id: Mapped[int] = mapped_column(primary_key=True)
    region: Mapped[str | None]
    timezone: Mapped[str]


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    organization_id: Mapped[int]
    role: Mapped[str]
    active: Mapped[bool]


class Session(Base):
    __tablename__ = "sessions"
    organization_id: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int]
    ended_at: Mapped[dt.datetime | None]


class UsageType(Base):
    __tablename__ = "usage_types"
    id: Mapped[int] = mapped_column(primary_key=True)
    unit: Mapped[str]
    archived: Mapped[bool]


class Valuation(Base):
    __tablename__ = "valuations"
    id: Mapped[int] = mapped_column(primary_key=True)
    organization_id: Mapped[int]
    usage_type_id: Mapped[int]
    region: Mapped[str | None]
    current: Mapped[bool]
    emission_factor_id: Mapped[int]
    factor: Mapped[Decimal]
    market_factor: Mapped[Decimal]
    provisional: Mapped[bool]
    valid_from: Mapped[dt.datetime]
    valid_until: Mapped[dt.datetime | None]


class Usage(Base):
    __tablename__ = "usages"
    __mapper_args__ = {"eager_defaults": True}
    organization_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    user_id: Mapped[int]
    usage_type_id: Mapped[int]
    usage_at: Mapped[dt.datetime]
    usage_until: Mapped[dt.datetime | None]
    amount: Mapped[Decimal]
    unit: Mapped[str]
    amount_in_type_unit: Mapped[Decimal]
    factor: Mapped[Decimal]
    market_factor: Mapped[Decimal]
    emission_factor_id: Mapped[int]
    valuation_id: Mapped[int]
    co2e_kg: Mapped[Decimal] = mapped_column(sa.Numeric, sa.Computed("amount_in_type_unit * factor", persisted=True))
    market_co2e_kg: Mapped[Decimal] = mapped_column(
        sa.Numeric, sa.Computed("amount_in_type_unit * market_factor", persisted=True)
    )
    split_co2e_kg: Mapped[Decimal | None]
    split_market_co2e_kg: Mapped[Decimal | None]
    provisional: Mapped[bool]
    region: Mapped[str | None]
    site_id: Mapped[int | None]
    meter_id: Mapped[int | None]
    quality: Mapped[str]
    note: Mapped[str | None]
    external_id: Mapped[str | None]
    adjusts_closed_period_id: Mapped[int | None]
    import_id: Mapped[int | None]
    restatement_id: Mapped[int | None]
    version: Mapped[int] = mapped_column(sa.Integer)
    recorded_at: Mapped[dt.datetime]
    recorded_by: Mapped[int]
    reason: Mapped[str | None]


class ClosedPeriod(Base):
    __tablename__ = "closed_periods"
    organization_id: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(primary_key=True)
    until: Mapped[dt.datetime]
    reopened_at: Mapped[dt.datetime | None]


class DailyTotal(Base):
    __tablename__ = "daily_totals"
    organization_id: Mapped[int] = mapped_column(primary_key=True)
    usage_type_id: Mapped[int] = mapped_column(primary_key=True)
    day: Mapped[dt.date] = mapped_column(primary_key=True)
    valuation_id: Mapped[int] = mapped_column(primary_key=True)
    restatement_id: Mapped[int] = mapped_column(primary_key=True)
    timezone: Mapped[str]
    usage_count: Mapped[int]
    carried_count: Mapped[int]
    amount: Mapped[Decimal] = mapped_column(sa.Numeric)
    estimated_amount: Mapped[Decimal] = mapped_column(sa.Numeric)
    reading_hours: Mapped[int] = mapped_column(sa.Integer)
    period_hours: Mapped[int] = mapped_column(sa.Integer)
    hours_stale: Mapped[bool]


class AuditEntry(Base):
    __tablename__ = "audit_entries"
    organization_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    actor_id: Mapped[int]
    actor_role: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    subject_id: Mapped[int]
    address: Mapped[str]
    request_id: Mapped[str]
    new: Mapped[dict[str, Any]] = mapped_column(JSONB)


Number = Annotated[Decimal, PlainSerializer(float, return_type=float, when_used="json")]


class UsageIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    usage_type_id: int
    usage_at: AwareDatetime
    amount: Decimal = Field(ge=0, max_digits=18, decimal_places=6)
    region: str | None = None
    quality: str = "measured"
    note: str | None = Field(None, max_length=2000)
    external_id: str | None = Field(None, max_length=200)


class UsageOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    organization_id: int
    user_id: int
    usage_type_id: int
    usage_at: dt.datetime
    usage_until: dt.datetime | None
    amount: Number
    unit: str
    amount_in_type_unit: Number
    factor: Number
    market_factor: Number
    emission_factor_id: int
    valuation_id: int
    co2e_kg: Number
    market_co2e_kg: Number
    split_co2e_kg: Number | None
    split_market_co2e_kg: Number | None
    provisional: bool
    region: str | None
    site_id: int | None
    meter_id: int | None
    quality: str
    note: str | None
    external_id: str | None
    adjusts_closed_period_id: int | None
    import_id: int | None
    restatement_id: int | None
    version: int
    recorded_at: dt.datetime
    recorded_by: int
    reason: str | None


@dataclass(frozen=True)
class Actor:
    id: int
    organization_id: int
    role: str
    region: str | None
    timezone: str


actors: dict[int, tuple[float, Actor]] = {}


async def get_session() -> Any:
    async with sessions() as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_session)]
Credentials = Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]


async def get_actor(session: SessionDep, credentials: Credentials) -> Actor:
    try:
        claims = jwt.decode(
            credentials.credentials,
            os.environ["BENCHMARK_SECRET_KEY"],
            ["HS256"],
            audience="carbonapi",
            issuer="carbonapi",
            options={"require": ["exp", "iat", "nbf", "sub", "jti", "aud", "iss", "type", "sid", "org"]},
        )
    except jwt.PyJWTError:
        raise HTTPException(401, "This is not a valid token.") from None
    cached = actors.get(claims["sid"])
    if cached and time.monotonic() < cached[0]:
        return cached[1]
    row = (
        await session.execute(
            sa.select(User.id, User.organization_id, User.role, Organization.region, Organization.timezone)
            .join(Session, (User.organization_id == Session.organization_id) & (User.id == Session.user_id))
            .join(Organization, Organization.id == Session.organization_id)
            .where(Session.organization_id == claims["org"], Session.id == claims["sid"])
            .where(Session.user_id == int(claims["sub"]), Session.ended_at.is_(None), User.active)
        )
    ).first()
    if row is None:
        raise HTTPException(401, "This session has ended.")
    actors[claims["sid"]] = (time.monotonic() + SESSION_CACHE_SECONDS, Actor(*row))
    return Actor(*row)


ActorDep = Annotated[Actor, Depends(get_actor)]


@app.get("/api/v1/usages", response_model=list[UsageOut])
async def list_usages(
    session: SessionDep,
    actor: ActorDep,
    response: Response,
    page: Annotated[int, Query(ge=1)] = 1,
    page_size: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> Any:
    visible = [Usage.organization_id == actor.organization_id]
    if actor.role == "member":
        visible.append(Usage.user_id == actor.id)
    total = await session.scalar(sa.select(sa.func.count()).select_from(Usage).where(*visible)) or 0
    newest_first = sa.select(Usage).where(*visible).order_by(Usage.usage_at.desc(), Usage.id.desc())
    rows = await session.scalars(newest_first.limit(page_size).offset((page - 1) * page_size))
    pagination = {"total": total, "total_pages": -(-total // page_size), "page": page}
    response.headers["X-Pagination"] = json.dumps(pagination)
    return rows.all()


@app.post("/api/v1/usages", response_model=UsageOut, status_code=201)
async def create_usage(
    usage_in: UsageIn, session: SessionDep, actor: ActorDep, request: Request, response: Response
) -> Any:
    region = usage_in.region or actor.region
    row = (
        await session.execute(
            sa.select(
                Valuation.id,
                Valuation.emission_factor_id,
                Valuation.factor,
                Valuation.market_factor,
                Valuation.provisional,
                UsageType.unit,
            )
            .join(UsageType, UsageType.id == Valuation.usage_type_id)
            .where(UsageType.id == usage_in.usage_type_id, ~UsageType.archived)
            .where(Valuation.organization_id == actor.organization_id, Valuation.current)
            .where(sa.func.coalesce(Valuation.region, "") == (region or ""))
            .where(Valuation.valid_from <= usage_in.usage_at)
            .where(Valuation.valid_until.is_(None) | (usage_in.usage_at < Valuation.valid_until))
        )
    ).first()
    if row is None:
        raise HTTPException(422, "There is no emission factor at this time.")
    closed_until = await session.scalar(
        sa.select(sa.func.max(ClosedPeriod.until)).where(
            ClosedPeriod.organization_id == actor.organization_id, ClosedPeriod.reopened_at.is_(None)
        )
    )
    if closed_until is not None and usage_in.usage_at < closed_until:
        raise HTTPException(409, "This time is closed.")
    usage = Usage(
        **usage_in.model_dump(),
        organization_id=actor.organization_id,
        user_id=actor.id,
        unit=row.unit,
        amount_in_type_unit=usage_in.amount,
        valuation_id=row.id,
        emission_factor_id=row.emission_factor_id,
        factor=row.factor,
        market_factor=row.market_factor,
        provisional=row.provisional,
        version=1,
        recorded_at=dt.datetime.now(dt.UTC),
        recorded_by=actor.id,
    )
    session.add(usage)
    await session.flush()
    created = UsageOut.model_validate(usage)
    session.add(
        AuditEntry(
            organization_id=actor.organization_id,
            actor_id=actor.id,
            actor_role=actor.role,
            action="recorded",
            subject="usage",
            subject_id=usage.id,
            address=request.client.host if request.client else "",
            request_id=uuid.uuid4().hex,
            new=created.model_dump(mode="json", exclude=NOT_AUDITED),
        )
    )
    local = usage.usage_at.astimezone(ZoneInfo(actor.timezone))
    total = insert(DailyTotal).values(
        organization_id=actor.organization_id,
        usage_type_id=usage.usage_type_id,
        day=local.date(),
        valuation_id=usage.valuation_id,
        restatement_id=0,
        timezone=actor.timezone,
        usage_count=1,
        carried_count=0,
        amount=usage.amount_in_type_unit,
        estimated_amount=usage.amount_in_type_unit if usage.quality == "estimated" else 0,
        reading_hours=1 << local.hour,
        period_hours=0,
        hours_stale=False,
    )
    stored, new = DailyTotal.__table__.c, total.excluded
    sums = {name: stored[name] + new[name] for name in ("usage_count", "amount", "estimated_amount")}
    hours = {"reading_hours": stored.reading_hours.op("|")(new.reading_hours)}
    await session.execute(
        total.on_conflict_do_update(index_elements=DailyTotal.__table__.primary_key.columns, set_=sums | hours)
    )
    await session.commit()
    response.headers["Location"] = f"/api/v1/usages/{usage.id}"
    return created


class HourOut(BaseModel):
    hour: dt.datetime
    co2e_kg: Number
    usage_count: int


@app.get("/api/v1/emissions/trend", response_model=list[HourOut])
async def hourly_trend(session: SessionDep, actor: ActorDep, start: AwareDatetime, end: AwareDatetime) -> Any:
    """Return the sums by hour, without coverage, market-based numbers and empty hours."""
    hour = sa.func.date_trunc("hour", Usage.usage_at).label("hour")
    sums = sa.func.sum(Usage.co2e_kg).label("co2e_kg"), sa.func.count().label("usage_count")
    visible = [Usage.organization_id == actor.organization_id]
    if actor.role == "member":
        visible.append(Usage.user_id == actor.id)
    visible += [Usage.usage_at >= start, Usage.usage_at < end]
    rows = await session.execute(sa.select(hour, *sums).where(*visible).group_by(hour).order_by(hour))
    return [row._mapping for row in rows]
